//! The write of a session record, merged with the one that is stored.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::arguments::life_ms;
use super::not_before::marker_of;
use super::state::Store;
use crate::api::Read;
use crate::engine::{
    Create, Engine, Put, PutOutcome, SAME_CLOCK_MS, YOUNG_MS, another_application, system_clock,
};
use crate::error::{Code, Error, Result};
use crate::session::{Record, hash_of, is_stale, merge, replace};
use crate::value::{KeyState, Stored};

/// What a write of a session record came to.
pub(super) enum Written {
    Done {
        /// Whether a session was created with a user half, the user half of one changed, or one was
        /// not taken as it was written.
        user_changed: bool,
    },
    /// The session was ended.
    Ended,
    /// There is none, and it is too old to be created.
    Ignored,
}

impl<E: Engine> Store<E> {
    /// Writes a session record, merged with what lies there.
    pub(super) async fn put(
        self: &Arc<Self>,
        token: &str,
        write: &Record<'_>,
        ttl_ms: Option<u64>,
        create: Create,
        read: Option<Read>,
    ) -> Result<Written> {
        let (seen, handed, ahead_ms) = match read {
            Some(Read { seen, handed, ahead_ms }) => (Some(seen), handed, ahead_ms),
            None => (None, Vec::new(), 0),
        };
        let caller = || match ahead_ms.saturating_abs() {
            ..=SAME_CLOCK_MS => self.engine.local_clock(),
            _ => system_clock().saturating_add(ahead_ms),
        };
        let handed: Vec<_> = handed.iter().map(|text| Stored::record(text)).collect();
        let reading = self
            .read_log
            .read_by(token, seen, (write.updated_at(), write.expires_at()))
            .or(&handed);
        let mut bases = None;
        let mut engine_now = None;
        let _writing = self.writing(token);
        // What is taken to lie there; the engine says if it does not. As a rule nothing lies where
        // a session is created.
        let mut known = match create {
            Create::Always => None,
            _ => self.read_log.latest(token).or_else(|| handed.last().cloned()),
        };
        let mut known_for_sure = false;
        loop {
            let stored = known.as_ref().and_then(|stored| Record::parse(token, stored.text()));
            if stored.is_none()
                && known.as_ref().is_some_and(|known| known.is_record_of_another(token))
            {
                self.refused.conflict.fetch_add(1, Relaxed);
                return Err(another_application());
            }
            let json = match &stored {
                Some(stored) if stored.user_id != write.user_id => {
                    if known_for_sure {
                        self.refused.conflict.fetch_add(1, Relaxed);
                        return Err(Error::new(
                            Code::Conflict,
                            "the session belongs to another user: a session never changes its user",
                        ));
                    }
                    known = None;
                    continue;
                }
                Some(stored) if create == Create::Always => replace(stored, write),
                // The usual case: nobody else has written, and both halves are there.
                Some(_)
                    if known.as_ref().is_some_and(|known| reading.is_only(known))
                        && write.user_json().is_some_and(|user| user.starts_with('{'))
                        && stored.as_ref().is_some_and(|stored| {
                            !is_stale(stored.updated_at(), write.updated_at())
                        }) =>
                {
                    Cow::Borrowed(write.json)
                }
                Some(stored) => {
                    let bases = bases.get_or_insert_with(|| reading.bases(token));
                    let Some(merged) = merge(bases, stored, write, engine_now) else {
                        engine_now = Some(self.engine.now().await?);
                        continue;
                    };
                    merged
                }
                None => Cow::Borrowed(write.json),
            };
            let merged = match &json {
                Cow::Borrowed(_) => None,
                Cow::Owned(merged) => Record::parse(token, merged),
            };
            let record = merged.as_ref().unwrap_or(write);
            let expires_at = record.expires_at();
            let Some(life) = life_ms(expires_at, ttl_ms, self.engine.local_clock())? else {
                if expires_at.is_some_and(|expires_at| expires_at > caller()) {
                    self.refused.conflict.fetch_add(1, Relaxed);
                    return Err(clocks_differ(
                        "is over by this machine's clock and not by",
                        caller(),
                        self.engine.local_clock(),
                        None,
                    ));
                }
                // Over, unless what really lies there lives on.
                if !known_for_sure
                    && let KeyState::Value(current) = Box::pin(self.engine.get(token)).await?
                {
                    known = Some(current);
                    known_for_sure = true;
                    continue;
                }
                Box::pin(self.end(token)).await?;
                return Ok(Written::Ended);
            };
            if self.is_too_large(&json, known.as_ref()) {
                if !known_for_sure {
                    known = Box::pin(self.engine.get(token)).await?.value();
                    known_for_sure = true;
                    continue;
                }
                return Err(Box::pin(self.refuse_too_large(token, record, stored.is_some())).await?);
            }
            self.expect_life(life);
            let written = Stored::record(&json);
            let put = Put {
                id: token,
                user: &write.user_id,
                record: &written,
                ttl_ms: life,
                expires_at,
                expected: known.as_ref(),
                create,
                list_others: self.max_sessions.is_some() && !record.is_impersonated(),
            };
            let outcome = self.engine.put(&put).await?;
            match outcome {
                PutOutcome::Differs(current) => {
                    known = Some(current);
                    known_for_sure = true;
                }
                PutOutcome::Refused => {
                    self.refused.ended.fetch_add(1, Relaxed);
                    self.read_log.forget(token);
                    return Ok(Written::Ended);
                }
                PutOutcome::TooOld { now } => {
                    self.refused.too_old.fetch_add(1, Relaxed);
                    self.read_log.forget(token);
                    let Create::Young(created_at) = create else {
                        return Err(Error::invalid(
                            "session.createdAt: must be a date, because there is no session of this token yet",
                        ));
                    };
                    if caller().abs_diff(created_at) > YOUNG_MS.unsigned_abs() {
                        return Ok(Written::Ignored);
                    }
                    // Saying nothing would make every sign-in fail in silence.
                    return Err(clocks_differ(
                        "is too old by Redis' clock and not by",
                        caller(),
                        self.engine.local_clock(),
                        Some(now),
                    ));
                }
                PutOutcome::Created { others } => {
                    Box::pin(self.limit(token, write, others)).await?;
                    self.remember(token, write, &written);
                    return Ok(Written::Done { user_changed: record.user_json().is_some() });
                }
                PutOutcome::Replaced => {
                    let is_dropped = write
                        .user_json()
                        .is_some_and(|written| record.user_json() != Some(written));
                    let user_changed = is_dropped
                        || stored.is_none_or(|stored| stored.user_json() != record.user_json());
                    self.remember(token, write, &written);
                    return Ok(Written::Done { user_changed });
                }
            }
        }
    }

    /// Remembers what lies there, and what its writer wrote.
    fn remember(&self, token: &str, write: &Record<'_>, stored: &Stored) {
        let (user, length) = (hash_of(&*write.user_id), stored.text().len());
        if self.record_sizes.get(&user).is_none_or(|longest| longest < length) {
            self.record_sizes.insert(user, length);
        }
        let marker = marker_of(&write.user_id);
        if stored.text() == write.json {
            self.read_log.wrote(token, &marker, stored);
        } else {
            self.read_log.wrote_merged(token, &marker, &Stored::record(write.json), stored);
        }
    }

    /// Whether a record is larger than allowed. One that is no longer than what lies there is never
    /// refused.
    pub(super) fn is_too_large(&self, json: &str, known: Option<&Stored>) -> bool {
        json.len() > self.max_value_bytes
            && known.is_none_or(|stored| stored.text().len() < json.len())
    }

    /// The error of a record that is too large. The live session that it was to change ends: it
    /// would keep older rights.
    pub(super) async fn refuse_too_large(
        &self,
        token: &str,
        record: &Record<'_>,
        is_live: bool,
    ) -> Result<Error> {
        self.refused.too_large.fetch_add(1, Relaxed);
        if is_live {
            self.end(token).await?;
        }
        Ok(self.too_large(record.json.len(), record.largest_field()))
    }

    pub(super) fn too_large(&self, size: usize, largest: Option<(String, usize)>) -> Error {
        let what = if largest.is_some() { "session record" } else { "value" };
        let largest =
            largest.map(|(name, size)| format!("; its largest field is {name} with {size} bytes"));
        let max = self.max_value_bytes;
        Error::new(
            Code::Limit,
            format!(
                "the {what} has {size} bytes; at most {max} are allowed (option maxValueBytes){}",
                largest.unwrap_or_default()
            ),
        )
    }
}

/// A session that is not written because of one clock, and would be by JavaScript's.
fn clocks_differ(what: &str, caller: i64, machine: i64, engine: Option<i64>) -> Error {
    let ahead = |other: i64| format!("{:.1} s", (other - caller) as f64 / 1000.0);
    let redis =
        engine.map_or_else(String::new, |now| format!(", and Redis' clock by {}", ahead(now)));
    Error::new(
        Code::Conflict,
        format!(
            "the session {what} JavaScript's Date.now(): this machine's clock is ahead of it by {}{redis}; set all clocks by NTP (fake timers in a test move JavaScript's only)",
            ahead(machine)
        ),
    )
}
