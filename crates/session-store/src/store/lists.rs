//! A user's sessions: visited, listed, and as the list that Better Auth expects.

use std::sync::Arc;

use futures_util::future::try_join;

use super::arguments::check_key;
use super::not_before::marker_of;
use super::parts::{PART_BYTES, READ_AHEAD};
use super::state::{ListedSessions, Store};
use crate::engine::Engine;
use crate::error::Result;
use crate::session::{Record, hash_of};
use crate::value::Stored;

/// How many of a user's records are listed together at most while their length is not known.
const MAX_FIRST_LISTED: usize = 32;

impl<E: Engine> Store<E> {
    /// A user's live sessions as a JSON array, the soonest to expire first.
    pub(super) async fn list(&self, user: &str) -> Result<String> {
        check_key("userId", user)?;
        let mut sessions = Vec::new();
        let visits = self.visit_sessions(user, |id, record| {
            let (expires_at, created_at) = (record.expires_at(), record.created_at());
            sessions.push((
                expires_at,
                record.session_json().to_owned(),
                id.to_owned(),
                created_at,
            ));
        });
        let (is_revoked, ()) = try_join(self.revocation_check(user), visits).await?;
        sessions.retain(|(_, _, _, created_at)| !is_revoked(*created_at));
        sessions.sort();
        let (ids, sessions): (Vec<_>, Vec<_>) =
            sessions.into_iter().map(|(_, json, id, _)| (id, json)).unzip();
        self.expect_reads(user, ids);
        Ok(["[", &sessions.join(","), "]"].concat())
    }

    /// Calls `visit` with the id and the record of each live session of a user.
    pub(super) async fn visit_sessions(
        &self,
        user: &str,
        mut visit: impl FnMut(&str, &Record<'_>),
    ) -> Result<()> {
        let mut longest = 0;
        let mut visit_stored = |id: &str, stored: &Stored| {
            let length = stored.raw().len();
            longest = length.max(longest);
            self.lengths.insert(self.read_log.hash(id), length);
            if let Some(record) =
                Record::parse(id, stored.text()).filter(|record| record.user_id == user)
            {
                visit(id, &record);
            }
        };
        if let Some(found) = self.engine.list(user, self.max_listed_together(user)).await? {
            found.iter().for_each(|(id, stored)| visit_stored(id, stored));
        } else {
            let ids = self.ids(user).await?;
            let ids: Vec<_> = ids.iter().map(String::as_str).collect();
            for some in ids.chunks(READ_AHEAD) {
                let mut rest = some;
                for count in self.parts_within(some, PART_BYTES).await? {
                    let (part, after) = rest.split_at(count);
                    rest = after;
                    let slots = self.engine.get_many(part).await?;
                    let found =
                        part.iter().zip(slots).filter_map(|(id, slot)| Some((*id, slot.value()?)));
                    found.for_each(|(id, stored)| visit_stored(id, &stored));
                }
            }
        }
        self.record_sizes.insert(hash_of(user), longest);
        Ok(())
    }

    /// How many of a user's records are listed together without asking for their lengths: as many
    /// as fit into one part, if each is as long as the longest known one.
    fn max_listed_together(&self, user: &str) -> usize {
        match self.record_sizes.get(&hash_of(user)) {
            Some(longest) => (PART_BYTES / longest.max(1)).clamp(1, READ_AHEAD),
            None => (PART_BYTES / self.max_value_bytes).clamp(1, MAX_FIRST_LISTED),
        }
    }

    /// Remembers that these sessions of a user will be read one after another: Better Auth reads
    /// what it has listed.
    pub(super) fn expect_reads(&self, user: &str, mut ids: Vec<String>) {
        let Some(cache) = &self.cache else { return };
        self.read_log.record_sessions(&ids);
        ids.retain(|id| cache.fresh_for_ms(id) == 0.0);
        if ids.len() > 1 {
            self.recently_listed
                .insert(ids[0].clone(), Arc::new(ListedSessions { marker: marker_of(user), ids }));
        }
    }

    /// `active-sessions-<user>` as Better Auth expects it: `[{"token":…,"expiresAt":ms}]`, the
    /// soonest first.
    pub(super) async fn active_session_lists(&self, users: &[&str]) -> Result<Vec<Option<String>>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.engine.local_clock();
        let view = |(user, entries): (&&str, Vec<(String, i64)>)| {
            let mut view = String::with_capacity(entries.len() * 80);
            let live: Vec<_> =
                entries.into_iter().filter(|(_, expires_at)| *expires_at > now).collect();
            for (token, expires_at) in &live {
                view.push(if view.is_empty() { '[' } else { ',' });
                let token = serde_json::to_string(token).expect("a string is always JSON");
                view.extend([
                    "{\"token\":",
                    &token,
                    ",\"expiresAt\":",
                    &expires_at.to_string(),
                    "}",
                ]);
            }
            self.expect_reads(user, live.into_iter().map(|(token, _)| token).collect());
            (!view.is_empty()).then(|| view + "]")
        };
        self.wait_until_listable(users).await?;
        let indexes = self.engine.entries(users).await?;
        Ok(users.iter().zip(indexes).map(view).collect())
    }
}
