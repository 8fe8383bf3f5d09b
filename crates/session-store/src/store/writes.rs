//! Writes of one key or one session, and what ends one.

use std::sync::Arc;

use super::arguments::{check_key, check_token, life_ms, ttl_ms};
use super::not_before::marker_of;
use super::put::PutResult;
use super::state::Store;
use crate::api::{Reply, WriterContext};
use crate::engine::{Create, Engine, Put, PutOutcome};
use crate::error::{Code, Error, Result};
use crate::keys::{NOT_BEFORE_PREFIX, SESSION_LIST_PREFIX};
use crate::session::{Object, Record, patch};
use crate::value::{KeyState, Stored};

impl<E: Engine> Store<E> {
    pub(super) async fn set(
        self: &Arc<Self>,
        key: &str,
        value: &str,
        ttl: Option<f64>,
        writer: Option<WriterContext>,
    ) -> Result<Reply> {
        check_key("key", key)?;
        let ttl_ms = ttl.map(ttl_ms).transpose()?;
        if key.starts_with(SESSION_LIST_PREFIX) {
            return Ok(Reply::Nothing);
        }
        if ttl_ms == Some(0) {
            return Box::pin(self.delete(key)).await.map(|()| Reply::Nothing);
        }
        let Some(record) = Record::parse(key, value) else {
            return Box::pin(self.set_plain(key, value, ttl_ms)).await.map(|()| Reply::Nothing);
        };
        check_token("key", key)?;
        let create = record.created_at().map_or(Create::Never, Create::Young);
        // Better Auth expects no error when a request writes back a session that another request
        // has ended.
        Ok(match self.put(key, &record, ttl_ms, create, writer).await? {
            PutResult::Done { user_changed: true } => Reply::UserWritten(record.user_id),
            PutResult::Done { user_changed: false } | PutResult::Ended => Reply::Nothing,
            PutResult::Ignored => Reply::Ignored,
        })
    }

    /// Writes a value that is no session record.
    async fn set_plain(&self, key: &str, value: &str, ttl_ms: Option<u64>) -> Result<()> {
        if value.len() > self.max_value_bytes
            && self
                .engine
                .get(key)
                .await?
                .value()
                .is_none_or(|stored| stored.text().len() < value.len())
        {
            return Err(self.too_large(value.len(), None));
        }
        self.read_log.forget(key);
        let _guard = self.guard_write(key);
        self.engine.set(key, value, ttl_ms).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        check_key("key", key)?;
        if let Some(user) = key.strip_prefix(SESSION_LIST_PREFIX) {
            return self.prune(user).await.map(drop);
        }
        // A marker ends by its lifetime only. Better Auth deletes none, and a stranger can send its
        // key as a session token.
        if key.starts_with(NOT_BEFORE_PREFIX) {
            return Ok(());
        }
        self.end(key).await
    }

    pub(super) async fn take(&self, key: &str) -> Result<Reply> {
        check_key("key", key)?;
        if let Some(user) = key.strip_prefix(SESSION_LIST_PREFIX) {
            let view = self.active_session_lists(&[user]).await?.pop().flatten();
            self.prune(user).await?;
            return Ok(view.map_or(Reply::Nothing, Reply::from));
        }
        self.read_log.forget(key);
        let taken = {
            let _guard = self.guard_write(key);
            self.engine.take(key).await?
        };
        if let Some(record) = taken.stored().and_then(|stored| Record::parse(key, stored.text())) {
            self.engine.acknowledge(&[key]).await;
            if self.revocation_check(&record.user_id).await?(record.created_at()) {
                return Ok(Reply::Nothing);
            }
        }
        Ok(taken.value().into())
    }

    pub(super) async fn increment(&self, key: &str, ttl: f64) -> Result<i64> {
        check_key("key", key)?;
        match ttl_ms(ttl)? {
            0 => Err(Error::invalid("ttl: a counter needs a life of more than 0 s")),
            ttl_ms => {
                let _guard = self.guard_write(key);
                self.engine.increment(key, ttl_ms).await
            }
        }
    }

    pub(super) async fn create(self: &Arc<Self>, token: &str, session: &str) -> Result<()> {
        check_token("session.token", token)?;
        let record = Record::parse(token, session).ok_or_else(|| {
            Error::invalid("session: must be an object with the strings token and userId")
        })?;
        check_key("session.userId", &record.user_id)?;
        if record.expires_at().is_none_or(|expires_at| expires_at <= self.engine.local_clock()) {
            return Err(Error::invalid("session.expiresAt: must be a date in the future"));
        }
        match self.put(token, &record, None, Create::Always, None).await? {
            PutResult::Done { .. } => Ok(()),
            PutResult::Ended | PutResult::Ignored => Err(Error::new(
                Code::Revoked,
                "the session of this token was ended: make one with a new token",
            )),
        }
    }

    pub(super) async fn update(&self, token: &str, changes: &str) -> Result<String> {
        check_key("token", token)?;
        let changes =
            Object::parse(changes).ok_or_else(|| Error::invalid("updates: must be an object"))?;
        let not_found = || Error::new(Code::NotFound, "there is no live session with this token");
        let _guard = self.guard_write(token);
        let mut slot = self.current_session(token).await?;
        loop {
            let stored = slot.value().ok_or_else(not_found)?;
            let record = Record::parse(token, stored.text()).ok_or_else(not_found)?;
            for (name, fixed) in [("token", token), ("userId", &record.user_id)] {
                if changes.get(name).is_some() && changes.id(name).as_deref() != Some(fixed) {
                    return Err(Error::invalid(format!(
                        "updates.{name}: a session's {name} cannot change; create a new session"
                    )));
                }
            }
            let json = patch(&record, &changes);
            let patched = Record::parse(token, &json).ok_or_else(not_found)?;
            let expires_at = patched.expires_at();
            let ttl_ms = life_ms(expires_at, None, self.engine.local_clock())?.ok_or_else(|| {
                Error::invalid(
                    "updates.expiresAt: must be a date in the future; deleteSession ends a session",
                )
            })?;
            self.expect_session_lifetime(ttl_ms);
            if self.is_too_large(&json, Some(&stored)) {
                return Err(Box::pin(self.refuse_too_large(token, &patched, true)).await?);
            }
            let written = Stored::record(&json);
            let put = Put {
                id: token,
                user: &record.user_id,
                record: &written,
                ttl_ms,
                expires_at,
                expected: Some(&stored),
                create: Create::Never,
                list_others: false,
            };
            match self.engine.put(&put).await? {
                PutOutcome::Differs(current) => slot = KeyState::Value(current),
                PutOutcome::Replaced | PutOutcome::Created { .. } => {
                    self.read_log.record_write(token, &marker_of(&record.user_id), &written);
                    return Ok(json);
                }
                PutOutcome::Refused | PutOutcome::TooOld { .. } => return Err(not_found()),
            }
        }
    }
}
