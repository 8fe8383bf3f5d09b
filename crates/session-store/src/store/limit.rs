//! The limit of sessions per user (`maxSessionsPerUser`). Only a creation enforces it: at once, or
//! some time later for a user with two factors.
//!
//! Better Auth's `twoFactor` plugin creates a session by the password alone and deletes it in the
//! same request. A limit enforced at once would end another session for it. So the creator waits
//! longer than a request takes, and enforces the limit only if the session still lives
//! (`tests/protocol.rs`, rules `LimitDefers` and `LimitDefersForLive`).
//!
//! A waiting enforcement keeps neither the store nor the process alive. If either ends first, the
//! next sign-in of the user enforces the limit.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::state::{AppHooks, Store};
use crate::engine::Engine;
use crate::error::Result;
use crate::events::EventKind;
use crate::session::Record;
use crate::value::KeyState;

/// The pause before the records of sessions that are being created are read again.
const REREAD_PAUSE: Duration = Duration::from_millis(5);

/// From a creation until its creator enforces the limit.
const DEFERRAL: Duration = Duration::from_secs(5);

/// How many bytes of ids may wait. Beyond, the limit is enforced at once.
const MAX_DEFERRED_BYTES: usize = 16 * 1024 * 1024;

/// The size of an id beside its text, in bytes.
const ID_BYTES: usize = size_of::<String>();

impl<E: Engine> Store<E> {
    /// Ends the user's oldest sessions beyond the limit, after `token` was created beside `others`:
    /// at once or later.
    pub(super) async fn limit(
        self: &Arc<Self>,
        token: &str,
        created: &Record<'_>,
        others: Vec<String>,
    ) -> Result<()> {
        let Some(max) = self.max_sessions else { return Ok(()) };
        if others.len() < max || created.is_impersonated() {
            return Ok(());
        }
        if created.has_two_factors() && self.defer_limit(token, &created.user_id, &others) {
            return Ok(());
        }
        self.enforce_limit(&created.user_id, &others).await
    }

    /// Enforces the limit later, if there is room for the ids. Returns whether there is.
    fn defer_limit(self: &Arc<Self>, token: &str, user: &str, others: &[String]) -> bool {
        let bytes = others.iter().map(|id| ID_BYTES + id.len()).sum();
        if self.deferred_bytes.fetch_add(bytes, Relaxed) + bytes > MAX_DEFERRED_BYTES {
            self.deferred_bytes.fetch_sub(bytes, Relaxed);
            return false;
        }
        let (token, user, others) = (token.to_owned(), user.to_owned(), others.to_vec());
        let store = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(DEFERRAL).await;
            let Some(store) = store.upgrade() else { return };
            let outcome = store.with_deadline(store.enforce_deferred(&token, &user, &others)).await;
            store.deferred_bytes.fetch_sub(bytes, Relaxed);
            if let (Err(error), Some(AppHooks { events, .. })) = (outcome, &store.app_hooks) {
                let what = "maxSessionsPerUser was not enforced after a sign-in with two factors; the next one enforces it";
                events.publish(EventKind::Degraded, format!("{what}: {error}"));
            }
        });
        true
    }

    async fn enforce_deferred(&self, token: &str, user: &str, others: &[String]) -> Result<()> {
        self.wait_for_pending_ends().await?;
        match self.engine.get(token).await?.value() {
            Some(stored) if Record::parse(token, stored.text()).is_some() => {
                self.enforce_limit(user, others).await
            }
            _ => Ok(()),
        }
    }

    /// Ends the user's oldest sessions beyond the limit, after one was created beside `others`.
    /// Concurrent creators see the same order, so together they end no more than are too many.
    /// Impersonated sessions neither count nor end.
    async fn enforce_limit(&self, user: &str, others: &[String]) -> Result<()> {
        let Some(max) = self.max_sessions else { return Ok(()) };
        let ids: Vec<_> = others.iter().map(String::as_str).collect();
        let deadline =
            Instant::now() + self.engine.max_put_duration().min(self.command_timeout / 2);
        loop {
            let (mut live, mut absent) = (Vec::new(), Vec::new());
            for (id, slot) in ids.iter().zip(self.engine.get_many(&ids).await?) {
                match slot {
                    KeyState::Tombstone => {}
                    KeyState::Absent => absent.push((*id).to_owned()),
                    KeyState::Value(stored) => live.extend(
                        Record::parse(id, stored.text())
                            .filter(|record| record.user_id == user && !record.is_impersonated())
                            .map(|record| (record.created_at().unwrap_or(i64::MIN), *id)),
                    ),
                }
            }
            let excess = (live.len() + absent.len() + 1).saturating_sub(max);
            if absent.is_empty() || excess == 0 {
                live.sort();
                for (_, id) in live.into_iter().take(excess) {
                    self.end(id).await?;
                }
                return Ok(());
            }
            // The age of an absent session is not known, so no session is ended for it: either its
            // record comes, or it never will.
            if Instant::now() < deadline {
                sleep(REREAD_PAUSE).await;
            } else {
                absent.truncate(excess);
                self.engine.prune(user, &absent, &absent).await?;
            }
        }
    }
}
