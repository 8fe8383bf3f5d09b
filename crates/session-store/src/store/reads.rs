//! Reads of several keys: in parts, by way of the near cache, each session beside its owner's
//! not-before marker.
//!
//! A session that was created before its owner's marker is absent, whether or not its record has
//! been ended. The owner is known from earlier reads and writes ([`ReadLog`]), so the record and
//! the marker are asked for together. Only a session's first read asks twice.
//!
//! [`ReadLog`]: crate::read_log::ReadLog

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::try_join;

use super::admission::InFlight;
use super::arguments::check_key;
use super::fetch::KeyFetch;
use super::not_before::{is_revoked, marker_of};
use super::parts::UNMEASURED;
use super::state::Store;
use crate::api::{DeliverPart, Text, Values};
use crate::engine::Engine;
use crate::error::Result;
use crate::keys::SESSION_LIST_PREFIX;
use crate::near_cache::Hit;
use crate::read_log::{KeyToRead, ReadNumber};
use crate::session::Record;
use crate::value::{KeyState, Stored};

/// What was fetched for a key.
struct FetchedValue {
    slot: KeyState,
    /// Of a session that the read log did not know, its owner's marker.
    marker: Option<Arc<str>>,
}

impl FetchedValue {
    /// The session and its owner's marker, if the value is a session.
    fn session<'f>(&'f self, key: &'f KeyToRead<'_>) -> Option<(&'f Stored, &'f Arc<str>)> {
        let marker = self.marker.as_ref().or(key.marker.as_ref())?;
        self.slot.stored().filter(|stored| stored.is_indexed()).map(|stored| (stored, marker))
    }
}

/// The not-before markers of some records' owners.
struct Markers<'m> {
    /// A marker of neighbouring records is here once.
    keys: Vec<&'m Arc<str>>,
    /// For each record, the place of its marker among the keys.
    places: Vec<Option<usize>>,
}

impl<'m> Markers<'m> {
    fn new(of: impl ExactSizeIterator<Item = Option<&'m Arc<str>>>) -> Self {
        let mut markers =
            Markers { keys: Vec::with_capacity(of.len()), places: Vec::with_capacity(of.len()) };
        for marker in of {
            if let Some(marker) = marker
                && markers.keys.last() != Some(&marker)
            {
                markers.keys.push(marker);
            }
            markers.places.push(marker.map(|_| markers.keys.len() - 1));
        }
        markers
    }

    fn fetches(&self) -> impl Iterator<Item = KeyFetch<'m>> {
        self.keys.iter().map(|key| KeyFetch {
            key,
            is_tracked: true,
            marker: None,
            is_counted: false,
        })
    }

    /// The places of the records that their owners' markers revoke. `slots`: what is stored under
    /// the markers' keys.
    fn revoked(
        &self,
        slots: &[KeyState],
        keys: &[&KeyToRead<'_>],
        fetched: &[FetchedValue],
    ) -> Vec<usize> {
        if slots.iter().all(|slot| slot.stored().is_none()) {
            return Vec::new();
        }
        let is_revoked = |at: &usize| {
            let (Some(place), Some(stored)) = (self.places[*at], fetched[*at].slot.stored()) else {
                return false;
            };
            is_revoked(keys[*at].key, stored.text(), slots[place].stored().map(Stored::text))
        };
        (0..keys.len()).filter(is_revoked).collect()
    }
}

impl<E: Engine> Store<E> {
    /// Reads the values of several keys, in parts of [`PART_BYTES`] at most. `is_trusted`: they are
    /// known to be sessions.
    ///
    /// [`PART_BYTES`]: super::PART_BYTES
    pub(super) async fn read_in_parts(
        &self,
        keys: &[&str],
        is_trusted: bool,
        mut in_flight: InFlight<'_>,
        mut deliver: DeliverPart,
    ) -> Result<()> {
        let keys = self.read_log.look_up(keys);
        let parts = if keys.len() <= UNMEASURED {
            vec![keys.len()]
        } else {
            self.with_deadline(self.parts(&keys)).await?
        };
        let mut rest = &keys[..];
        for count in parts {
            let (part, after) = rest.split_at(count);
            rest = after;
            let values = self.read(part, is_trusted).await?;
            // Ended here, because what JavaScript does with this part may read more.
            in_flight.end(count);
            if let Some(taken) = deliver(values, rest.is_empty())
                && taken.await.is_err()
            {
                return Ok(()); // JavaScript is gone
            }
        }
        Ok(())
    }

    /// Reads the values of several keys together: one engine step for all that are stored under
    /// their own key.
    async fn read(&self, keys: &[KeyToRead<'_>], is_trusted: bool) -> Result<Values> {
        for key in keys {
            check_key("key", key.key)?;
        }
        let users: Vec<_> =
            keys.iter().filter_map(|key| key.key.strip_prefix(SESSION_LIST_PREFIX)).collect();
        let own: Vec<_> =
            keys.iter().filter(|key| !key.key.starts_with(SESSION_LIST_PREFIX)).collect();
        let records = self.read_records(&own, is_trusted);
        let both = pin!(try_join(records, self.active_session_lists(&users)));
        let (fetched, lists) = self.with_deadline(both).await?;

        // From here to the answer without an await, so that answers leave in the order of their
        // numbers.
        let read_number = ReadNumber::next();
        let sessions = own.iter().zip(&fetched).filter_map(|(key, fetched)| {
            let (stored, marker) = fetched.session(key)?;
            Some((*key, marker, stored))
        });
        self.read_log.record_reads(sessions, read_number);
        let (mut fetched, mut lists) = (fetched.into_iter(), lists.into_iter());
        let values = keys.iter().map(|key| {
            if key.key.starts_with(SESSION_LIST_PREFIX) {
                return lists.next().flatten().map(Text::from);
            }
            let fetched = fetched.next()?;
            let is_session = fetched.session(key).is_some();
            let stored = fetched.slot.value()?;
            if !is_session {
                self.lengths.insert(key.hash, stored.raw().len());
            }
            Some(stored.into())
        });
        Ok(Values { values: values.collect(), read_number })
    }

    /// Fetches the values of the keys. Records that another store left are indexed, and revoked
    /// ones are absent.
    async fn read_records(
        &self,
        keys: &[&KeyToRead<'_>],
        is_trusted: bool,
    ) -> Result<Vec<FetchedValue>> {
        let markers = Markers::new(keys.iter().map(|key| key.marker.as_ref()));
        let mut fetches = Vec::with_capacity(keys.len() + markers.keys.len());
        fetches.extend(keys.iter().map(|key| KeyFetch {
            key: key.key,
            is_tracked: is_trusted || key.is_session,
            marker: key.marker.as_ref(),
            is_counted: true,
        }));
        fetches.extend(markers.fetches());
        let mut slots = self.fetch(&fetches).await?;
        let marker_slots = slots.split_off(keys.len());
        let mut fetched: Vec<_> =
            slots.into_iter().map(|slot| FetchedValue { slot, marker: None }).collect();
        let mut has_new_markers = false;
        for (key, fetched) in keys.iter().zip(&mut fetched) {
            if !(key.marker.is_some() && fetched.slot.stored().is_none_or(Stored::is_indexed)) {
                fetched.marker = self.identify_session(key, &mut fetched.slot).await;
                has_new_markers |= fetched.marker.is_some();
            }
        }
        let mut revoked = markers.revoked(&marker_slots, keys, &fetched);
        if has_new_markers {
            let new = Markers::new(fetched.iter().map(|fetched| fetched.marker.as_ref()));
            let slots = self.fetch(&new.fetches().collect::<Vec<_>>()).await?;
            revoked.extend(new.revoked(&slots, keys, &fetched));
        }
        for at in revoked {
            fetched[at].slot = KeyState::Tombstone;
        }
        Ok(fetched)
    }

    /// The marker of the owner of a session that the read log does not know. A record that another
    /// store left is indexed.
    async fn identify_session(&self, key: &KeyToRead<'_>, slot: &mut KeyState) -> Option<Arc<str>> {
        let KeyState::Value(stored) = slot else { return None };
        if stored.is_record_of_another(key.key) {
            *slot = KeyState::Absent;
            return None;
        }
        let user = Record::parse(key.key, stored.text())?.user_id;
        if !stored.is_indexed() {
            // The next read repeats what fails now.
            let _ = self.engine.adopt(key.key, &user, stored).await;
            *slot = KeyState::Value(Stored::record(stored.text()));
        }
        Some(marker_of(&user))
    }

    /// The value of a key, or its absence; `None`: the near cache does not know.
    pub(super) fn cached(&self, key: &str) -> Option<Hit> {
        let hit = self.cache.as_ref()?.cached(key)?;
        let is_revoked = hit.text().is_some_and(|text| is_revoked(key, text, hit.marker()));
        Some(if is_revoked { Hit::absent() } else { hit })
    }
}
