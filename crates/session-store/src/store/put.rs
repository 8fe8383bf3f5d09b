//! The write of a session record, merged with the stored one.
//!
//! A put expects a stored record, merges against it, and writes by compare-and-set. The read log
//! supplies the first expectation, so a put usually takes one step. The engine answers with what
//! is really stored when that differs, and the put tries again with it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::arguments::life_ms;
use super::not_before::marker_of;
use super::state::Store;
use crate::api::WriterContext;
use crate::clock::now_ms;
use crate::engine::{
    Create, Engine, Put, PutOutcome, SAME_CLOCK_MS, YOUNG_MS, another_application,
};
use crate::error::{Code, Error, Result};
use crate::read_log::ReadVersions;
use crate::session::{Bases, Record, hash_of, is_stale, merge, replace};
use crate::value::{KeyState, Stored};

/// The result of a put.
pub(super) enum PutResult {
    Done {
        /// Whether a session was created with a user half, the user half of one changed, or one was
        /// not taken as it was written.
        user_changed: bool,
    },
    /// The session was ended.
    Ended,
    /// There is no such session, and it is too old to be created.
    Ignored,
}

/// What a put writes, and what it has found out so far.
struct PutState<'w> {
    token: &'w str,
    write: &'w Record<'w>,
    /// Lifetime in ms of a record without an `expiresAt` of its own.
    ttl_ms: Option<u64>,
    create: Create,
    /// How far the writer's clock is ahead of this machine's, in ms.
    clock_ahead_ms: i64,
    reads: ReadVersions,
    /// The digests of `reads`, made when a merge first needs them.
    bases: Option<Bases>,
    /// The engine's clock in ms since the epoch, read when a merge first needs it.
    engine_now: Option<i64>,
}

/// The record that a put expects to replace.
struct Expected {
    /// `None`: no record.
    stored: Option<Stored>,
    /// Whether the engine answered it; else it comes from the read log.
    is_certain: bool,
}

impl Expected {
    fn certain(stored: Option<Stored>) -> Self {
        Expected { stored, is_certain: true }
    }
}

/// The record that is to be stored.
struct NewRecord<'n> {
    json: &'n str,
    record: &'n Record<'n>,
    ttl_ms: u64,
}

/// The result of one attempt.
enum Attempt {
    Done(PutResult),
    /// Another record is to be expected.
    Retry(Expected),
}

impl<E: Engine> Store<E> {
    /// Writes a session record, merged with the stored one. `writer`: `None` when it is unknown
    /// what the writer has read.
    pub(super) async fn put(
        self: &Arc<Self>,
        token: &str,
        write: &Record<'_>,
        ttl_ms: Option<u64>,
        create: Create,
        writer: Option<WriterContext>,
    ) -> Result<PutResult> {
        let (window, cached, clock_ahead_ms) = match writer {
            Some(WriterContext { reads, cached, clock_ahead_ms }) => {
                (Some(reads), cached, clock_ahead_ms)
            }
            None => (None, Vec::new(), 0),
        };
        let cached: Vec<_> = cached.iter().map(|text| Stored::record(text)).collect();
        let reads = self
            .read_log
            .versions_read_by(token, window, (write.updated_at(), write.expires_at()))
            .with_cached(&cached);
        let mut put = PutState {
            token,
            write,
            ttl_ms,
            create,
            clock_ahead_ms,
            reads,
            bases: None,
            engine_now: None,
        };
        let _guard = self.guard_write(token);
        // As a rule nothing is stored where a session is created.
        let stored = match create {
            Create::Always => None,
            _ => self.read_log.latest_version(token).or_else(|| cached.last().cloned()),
        };
        let mut expected = Expected { stored, is_certain: false };
        loop {
            match self.attempt_put(&mut put, expected).await? {
                Attempt::Done(result) => return Ok(result),
                Attempt::Retry(other) => expected = other,
            }
        }
    }

    async fn attempt_put(
        self: &Arc<Self>,
        put: &mut PutState<'_>,
        expected: Expected,
    ) -> Result<Attempt> {
        let (token, write) = (put.token, put.write);
        let stored =
            expected.stored.as_ref().and_then(|stored| Record::parse(token, stored.text()));
        if stored.is_none()
            && expected.stored.as_ref().is_some_and(|stored| stored.is_record_of_another(token))
        {
            self.refused.conflict.fetch_add(1, Relaxed);
            return Err(another_application());
        }
        if stored.as_ref().is_some_and(|stored| stored.user_id != write.user_id) {
            if expected.is_certain {
                self.refused.conflict.fetch_add(1, Relaxed);
                return Err(Error::new(
                    Code::Conflict,
                    "the session belongs to another user: a session never changes its user",
                ));
            }
            return Ok(Attempt::Retry(Expected { stored: None, is_certain: false }));
        }
        let json = self.merged_json(put, &expected, stored.as_ref()).await?;
        let merged = match &json {
            Cow::Borrowed(_) => None,
            Cow::Owned(merged) => Record::parse(token, merged),
        };
        let record = merged.as_ref().unwrap_or(write);
        let ttl_ms = life_ms(record.expires_at(), put.ttl_ms, self.engine.local_clock())?;
        let Some(ttl_ms) = ttl_ms else {
            return Box::pin(self.put_expired(put, record, &expected)).await;
        };
        if self.is_too_large(&json, expected.stored.as_ref()) {
            if !expected.is_certain {
                let current = Box::pin(self.engine.get(token)).await?.value();
                return Ok(Attempt::Retry(Expected::certain(current)));
            }
            return Err(Box::pin(self.refuse_too_large(token, record, stored.is_some())).await?);
        }
        self.expect_session_lifetime(ttl_ms);
        let new = NewRecord { json: &json, record, ttl_ms };
        self.write_record(put, &expected, stored.as_ref(), &new).await
    }

    /// The record to store, as JSON.
    async fn merged_json<'w>(
        &self,
        put: &mut PutState<'w>,
        expected: &Expected,
        stored: Option<&Record<'_>>,
    ) -> Result<Cow<'w, str>> {
        let write = put.write;
        let Some(stored) = stored else { return Ok(Cow::Borrowed(write.json)) };
        if put.create == Create::Always {
            return Ok(replace(stored, write));
        }
        // The usual case: nobody else has written, and both halves are there.
        if expected.stored.as_ref().is_some_and(|stored| put.reads.is_only(stored))
            && write.user_json().is_some_and(|user| user.starts_with('{'))
            && !is_stale(stored.updated_at(), write.updated_at())
        {
            return Ok(Cow::Borrowed(write.json));
        }
        let bases = put.bases.get_or_insert_with(|| put.reads.bases(put.token));
        loop {
            match merge(bases, stored, write, put.engine_now) {
                Some(merged) => return Ok(merged),
                None => put.engine_now = Some(self.engine.now().await?),
            }
        }
    }

    /// The write has no lifetime left: it ends the session, unless the record that is really
    /// stored lives on.
    async fn put_expired(
        &self,
        put: &PutState<'_>,
        record: &Record<'_>,
        expected: &Expected,
    ) -> Result<Attempt> {
        let writer_now = self.writer_clock(put);
        if record.expires_at().is_some_and(|expires_at| expires_at > writer_now) {
            self.refused.conflict.fetch_add(1, Relaxed);
            return Err(clocks_differ(
                "is over by this machine's clock and not by",
                writer_now,
                self.engine.local_clock(),
                None,
            ));
        }
        if !expected.is_certain
            && let KeyState::Value(current) = self.engine.get(put.token).await?
        {
            return Ok(Attempt::Retry(Expected::certain(Some(current))));
        }
        self.end(put.token).await?;
        Ok(Attempt::Done(PutResult::Ended))
    }

    async fn write_record(
        self: &Arc<Self>,
        put: &PutState<'_>,
        expected: &Expected,
        stored: Option<&Record<'_>>,
        &NewRecord { json, record, ttl_ms }: &NewRecord<'_>,
    ) -> Result<Attempt> {
        let (token, write) = (put.token, put.write);
        let written = Stored::record(json);
        let step = Put {
            id: token,
            user: &write.user_id,
            record: &written,
            ttl_ms,
            expires_at: record.expires_at(),
            expected: expected.stored.as_ref(),
            create: put.create,
            list_others: self.max_sessions.is_some() && !record.is_impersonated(),
        };
        let result = match self.engine.put(&step).await? {
            PutOutcome::Differs(current) => {
                return Ok(Attempt::Retry(Expected::certain(Some(current))));
            }
            PutOutcome::Refused => {
                self.refused.ended.fetch_add(1, Relaxed);
                self.read_log.forget(token);
                PutResult::Ended
            }
            PutOutcome::TooOld { now } => {
                self.refused.too_old.fetch_add(1, Relaxed);
                self.read_log.forget(token);
                self.ignore_too_old(put, now)?
            }
            PutOutcome::Created { others } => {
                Box::pin(self.limit(token, write, others)).await?;
                self.remember(token, write, &written);
                PutResult::Done { user_changed: record.user_json().is_some() }
            }
            PutOutcome::Replaced => {
                let is_dropped =
                    write.user_json().is_some_and(|written| record.user_json() != Some(written));
                let user_changed = is_dropped
                    || stored.is_none_or(|stored| stored.user_json() != record.user_json());
                self.remember(token, write, &written);
                PutResult::Done { user_changed }
            }
        };
        Ok(Attempt::Done(result))
    }

    /// A session that is too old by the engine's clock, which shows `engine_now`. An error when it
    /// is young by the writer's.
    fn ignore_too_old(&self, put: &PutState<'_>, engine_now: i64) -> Result<PutResult> {
        let Create::Young(created_at) = put.create else {
            return Err(Error::invalid(
                "session.createdAt: must be a date, because there is no session of this token yet",
            ));
        };
        let writer_now = self.writer_clock(put);
        if writer_now.abs_diff(created_at) > YOUNG_MS.unsigned_abs() {
            return Ok(PutResult::Ignored);
        }
        // Without an error, every sign-in would fail in silence.
        Err(clocks_differ(
            "is too old by Redis' clock and not by",
            writer_now,
            self.engine.local_clock(),
            Some(engine_now),
        ))
    }

    /// The writer's clock, in ms since the epoch.
    fn writer_clock(&self, put: &PutState<'_>) -> i64 {
        match put.clock_ahead_ms.saturating_abs() {
            ..=SAME_CLOCK_MS => self.engine.local_clock(),
            _ => now_ms().saturating_add(put.clock_ahead_ms),
        }
    }

    /// Records what is stored, and what its writer wrote.
    fn remember(&self, token: &str, write: &Record<'_>, stored: &Stored) {
        let (user, length) = (hash_of(&*write.user_id), stored.text().len());
        if self.record_sizes.get(&user).is_none_or(|longest| longest < length) {
            self.record_sizes.insert(user, length);
        }
        let marker = marker_of(&write.user_id);
        if stored.text() == write.json {
            self.read_log.record_write(token, &marker, stored);
        } else {
            self.read_log.record_merged_write(token, &marker, &Stored::record(write.json), stored);
        }
    }

    /// Whether a record is larger than allowed. One that is no longer than the stored one is never
    /// refused.
    pub(super) fn is_too_large(&self, json: &str, stored: Option<&Stored>) -> bool {
        json.len() > self.max_value_bytes
            && stored.is_none_or(|stored| stored.text().len() < json.len())
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
fn clocks_differ(what: &str, writer: i64, machine: i64, engine: Option<i64>) -> Error {
    let ahead = |other: i64| format!("{:.1} s", (other - writer) as f64 / 1000.0);
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
