//! The user half of a user's sessions against the user's row in the database.
//!
//! Better Auth writes its copy of the row some time after the row itself, and so may overtake
//! another writer. No merge can correct that (`tests/user_half.rs`). So after each write that
//! created a session or changed a user half, its process *looks*: it reads the user halves
//! ([`Store::user_halves`]), then JavaScript reads the row, and the row is written where they
//! differ ([`Store::install_user`]), until nothing differs.

use futures_util::future::try_join_all;

use super::arguments::{check_key, life_ms};
use super::not_before::marker_of;
use super::state::Store;
use crate::api::Reply;
use crate::engine::{Create, Engine, Put, PutOutcome};
use crate::error::{Code, Error, Result};
use crate::session::{Record, User, with_user};
use crate::value::Stored;

/// How many sessions are written together.
const SESSIONS_TOGETHER: usize = 64;

/// The id of each of a user's sessions, and a hash of its user half; `None`: the record has no
/// place for one.
type UserHalfHashes = Vec<(String, Option<String>)>;

/// The user's row.
struct UserRow<'a> {
    /// Its hash.
    half: String,
    user: User<'a>,
    /// Whether it replaces a copy with a newer `updatedAt`, too.
    as_it_is: bool,
}

impl<E: Engine> Store<E> {
    pub(super) async fn user_halves(&self, user: &str) -> Result<Reply> {
        check_key("userId", user)?;
        if self.journal.as_ref().is_some_and(|journal| journal.has_puts()) {
            let what = "the writes of an outage are not in Redis yet";
            return Err(Error::new(Code::Unavailable, what));
        }
        let mut halves = UserHalfHashes::new();
        self.visit_sessions(user, |id, record| {
            halves.push((id.to_owned(), record.user_json().map(hash)))
        })
        .await?;
        if halves.is_empty() {
            return Ok(Reply::Nothing);
        }
        Ok(Reply::from(serde_json::to_string(&halves).expect("texts are always JSON")))
    }

    pub(super) async fn install_user(
        &self,
        user: &str,
        halves: &str,
        row: &str,
        as_it_is: bool,
    ) -> Result<i64> {
        check_key("userId", user)?;
        let halves: UserHalfHashes = serde_json::from_str(halves)
            .map_err(|_| Error::invalid("halves: must be an answer"))?;
        let parsed =
            User::parse(row).ok_or_else(|| Error::invalid("the user's row must be an object"))?;
        if parsed.id().as_deref() != Some(user) {
            return Err(Error::invalid("the row that was read is another user's: its id differs"));
        }
        let row = UserRow { half: hash(row), user: parsed, as_it_is };
        let differing: Vec<_> = halves
            .iter()
            .filter_map(|(id, half)| Some((id, half.as_ref()?)))
            .filter(|(_, half)| **half != row.half)
            .collect();
        let mut changed = 0;
        for part in differing.chunks(SESSIONS_TOGETHER) {
            let written = try_join_all(
                part.iter().map(|(id, half)| self.install_in_session(user, id, half, &row)),
            )
            .await?;
            changed += written.into_iter().filter(|changed| *changed).count();
        }
        Ok(i64::try_from(changed).unwrap_or(i64::MAX))
    }

    /// Writes the row into a session whose user half still has the hash `half`. Returns whether it
    /// was written, or the session had changed meanwhile.
    async fn install_in_session(
        &self,
        user: &str,
        id: &str,
        half: &str,
        row: &UserRow<'_>,
    ) -> Result<bool> {
        let _guard = self.guard_write(id);
        let Some(stored) = self.engine.get(id).await?.value() else { return Ok(false) };
        let Some(record) = Record::parse(id, stored.text()).filter(|record| record.user_id == user)
        else {
            return Ok(false);
        };
        if record.user_json().map(hash).as_deref() != Some(half) {
            return Ok(true);
        }
        // A record without a user is one whose writer did not find the row.
        if let Some(copy) = record.user_json().and_then(User::parse) {
            let is_older = copy.updated_at() > row.user.updated_at();
            if !copy.is_same_user(&row.user) || is_older && !row.as_it_is {
                return Ok(false);
            }
        }
        let Some(json) = with_user(&record, row.user.json) else { return Ok(false) };
        // Without an expiresAt of its own it is no record of Better Auth's.
        let Some(Ok(Some(ttl_ms))) =
            record.expires_at().map(|at| life_ms(Some(at), None, self.engine.local_clock()))
        else {
            return Ok(false);
        };
        if self.is_too_large(&json, Some(&stored)) {
            let error = self.refuse_too_large(id, &record, true).await?;
            debug_assert_eq!(error.code, Code::Limit);
            return Ok(true);
        }
        let written = Stored::record(&json);
        let put = Put {
            id,
            user,
            record: &written,
            ttl_ms,
            expires_at: record.expires_at(),
            expected: Some(&stored),
            create: Create::Never,
            list_others: false,
        };
        let outcome = self.engine.put(&put).await?;
        if outcome == PutOutcome::Replaced {
            self.read_log.record_write(id, &marker_of(user), &written);
        }
        Ok(matches!(outcome, PutOutcome::Replaced | PutOutcome::Differs(_)))
    }
}

/// A hash of a user half, whatever the order of its fields.
fn hash(json: &str) -> String {
    User::parse(json)
        .map_or_else(|| "none".to_owned(), |user| format!("{:016x}", user.fingerprint()))
}
