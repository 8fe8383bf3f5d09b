//! Not-before markers: a user's sessions from before the marker count as ended, whether or not
//! their records have been ended.

use std::sync::Arc;

use super::state::Store;
use crate::engine::Engine;
use crate::error::Result;
use crate::keys::NOT_BEFORE_PREFIX;
use crate::session::Record;
use crate::value::KeyState;

/// The key of a user's not-before marker.
pub(super) fn marker_of(user: &str) -> Arc<str> {
    [NOT_BEFORE_PREFIX, user].concat().into()
}

/// Whether a session that was created then (in ms since the epoch) is older than its owner's
/// marker. Better Auth compares in the same way. A session without a `createdAt` is older.
fn is_older(created_at: Option<i64>, marker: &str) -> bool {
    marker
        .parse::<f64>()
        .is_ok_and(|before| created_at.is_none_or(|created_at| (created_at as f64) < before))
}

/// As [`is_older`], of a record's text. `marker`: its text, if there is one.
pub(super) fn is_revoked(token: &str, text: &str, marker: Option<&str>) -> bool {
    marker.is_some_and(|marker| {
        Record::parse(token, text).is_some_and(|record| is_older(record.created_at(), marker))
    })
}

/// The key of the marker of a session's owner; `None`: the value is no indexed session.
pub(super) fn owner_marker(key: &str, slot: &KeyState) -> Option<Arc<str>> {
    let stored = slot.stored().filter(|stored| stored.is_indexed())?;
    Record::parse(key, stored.text()).map(|record| marker_of(&record.user_id))
}

impl<E: Engine> Store<E> {
    /// A check whether a user's marker revokes a session that was created then (in ms since the
    /// epoch).
    pub(super) async fn revocation_check(
        &self,
        user: &str,
    ) -> Result<impl Fn(Option<i64>) -> bool + use<E>> {
        let marker = self.engine.get(&marker_of(user)).await?.value();
        Ok(move |created_at| {
            marker.as_ref().is_some_and(|marker| is_older(created_at, marker.text()))
        })
    }

    /// The session that the engine holds now.
    pub(super) async fn current_session(&self, token: &str) -> Result<KeyState> {
        let known = self.read_log.look_up(&[token]).pop().and_then(|key| key.marker);
        let keys: Vec<_> = [token].into_iter().chain(known.as_deref()).collect();
        let mut slots = self.engine.get_many(&keys).await?.into_iter();
        let (slot, marker) = (slots.next().unwrap_or(KeyState::Absent), slots.next());
        let Some(record) = slot.stored().and_then(|stored| Record::parse(token, stored.text()))
        else {
            return Ok(slot);
        };
        let marker = match marker {
            Some(marker) => marker,
            None => self.engine.get(&marker_of(&record.user_id)).await?,
        };
        let is_revoked =
            marker.stored().is_some_and(|marker| is_older(record.created_at(), marker.text()));
        Ok(if is_revoked { KeyState::Tombstone } else { slot })
    }
}
