//! Reading keys: in parts, by way of the near cache, each session beside its owner's not-before
//! marker.
//!
//! A session that was created before its owner's marker is absent, whether or not its record has
//! been ended. The owner is known from earlier reads and writes ([`ReadLog`]), so that record and
//! marker are asked for together. Only a session's first read asks twice.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::try_join;

use super::admission::InFlight;
use super::arguments::check_key;
use super::fetch::Wanted;
use super::not_before::{is_revoked, marker_of};
use super::parts::UNMEASURED;
use super::state::Store;
use crate::api::{Take, Text, Values};
use crate::engine::Engine;
use crate::error::Result;
use crate::keys::LIST_PREFIX;
use crate::near_cache::Hit;
use crate::read_log::{Asked, Serving};
use crate::session::Record;
use crate::value::{KeyState, Stored};

/// What lies under a key.
struct Found {
    slot: KeyState,
    /// Of a session that was not known before, its owner's marker.
    marker: Option<Arc<str>>,
}

impl Found {
    /// The session, and its owner's marker, if there is one.
    fn session<'f>(&'f self, asked: &'f Asked<'_>) -> Option<(&'f Stored, &'f Arc<str>)> {
        let marker = self.marker.as_ref().or(asked.marker.as_ref())?;
        self.slot.stored().filter(|stored| stored.is_indexed()).map(|stored| (stored, marker))
    }
}

/// The markers that go with some records, in the order of the records.
struct Markers<'m> {
    /// Each once, where its records stand beside each other.
    keys: Vec<&'m Arc<str>>,
    /// For each record, which of the keys.
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

    fn wanted(&self) -> impl Iterator<Item = Wanted<'m>> {
        self.keys.iter().map(|key| Wanted { key, is_tracked: true, marker: None, counts: false })
    }

    /// Which of the records their owners' markers revoke. `slots`: what lies under the keys.
    fn revoked(&self, slots: &[KeyState], asked: &[&Asked<'_>], found: &[Found]) -> Vec<usize> {
        if slots.iter().all(|slot| slot.stored().is_none()) {
            return Vec::new();
        }
        let is_revoked = |at: &usize| {
            let (Some(place), Some(stored)) = (self.places[*at], found[*at].slot.stored()) else {
                return false;
            };
            is_revoked(asked[*at].key, stored.text(), slots[place].stored().map(Stored::text))
        };
        (0..asked.len()).filter(is_revoked).collect()
    }
}

impl<E: Engine> Store<E> {
    /// The values of several keys, in parts of [`PART_BYTES`] at most. `is_trusted`: they are known
    /// to be sessions.
    pub(super) async fn read_in_parts(
        &self,
        keys: &[&str],
        is_trusted: bool,
        mut entered: InFlight<'_>,
        mut take: Take,
    ) -> Result<()> {
        let asked = self.read_log.look_up(keys);
        let parts = if keys.len() <= UNMEASURED {
            vec![keys.len()]
        } else {
            self.in_time(self.parts(&asked)).await?
        };
        let mut rest = &asked[..];
        for count in parts {
            let (part, after) = rest.split_at(count);
            rest = after;
            let values = self.read(part, is_trusted).await?;
            // What JavaScript does with this part may ask for more.
            entered.end(count);
            if let Some(taken) = take(values, rest.is_empty())
                && taken.await.is_err()
            {
                return Ok(()); // JavaScript is gone
            }
        }
        Ok(())
    }

    /// The values of several keys, read together: one step of the engine for all that lie under
    /// their own key.
    pub(super) async fn read(&self, asked: &[Asked<'_>], is_trusted: bool) -> Result<Values> {
        for asked in asked {
            check_key("key", asked.key)?;
        }
        let users: Vec<_> =
            asked.iter().filter_map(|asked| asked.key.strip_prefix(LIST_PREFIX)).collect();
        let own: Vec<_> =
            asked.iter().filter(|asked| !asked.key.starts_with(LIST_PREFIX)).collect();
        let both = pin!(try_join(self.read_records(&own, is_trusted), self.index_views(&users)));
        let (found, views) = self.in_time(both).await?;

        // From here to the answer without a pause, so that answers leave in the order of their
        // numbers.
        let serving = Serving::next();
        let served = own.iter().zip(&found).filter_map(|(asked, found)| {
            let (stored, marker) = found.session(asked)?;
            Some((*asked, marker, stored))
        });
        self.read_log.serve(served, serving);
        let (mut found, mut views) = (found.into_iter(), views.into_iter());
        let values = asked.iter().map(|asked| {
            if asked.key.starts_with(LIST_PREFIX) {
                return views.next().flatten().map(Text::from);
            }
            let found = found.next()?;
            let is_session = found.session(asked).is_some();
            let stored = found.slot.value()?;
            if !is_session {
                self.lengths.insert(asked.hash, stored.raw().len());
            }
            Some(stored.into())
        });
        Ok(Values { values: values.collect(), serving })
    }

    /// What lies under the keys. Records that another store left are indexed.
    async fn read_records(&self, asked: &[&Asked<'_>], is_trusted: bool) -> Result<Vec<Found>> {
        let markers = Markers::new(asked.iter().map(|asked| asked.marker.as_ref()));
        let mut wanted = Vec::with_capacity(asked.len() + markers.keys.len());
        wanted.extend(asked.iter().map(|asked| Wanted {
            key: asked.key,
            is_tracked: is_trusted || asked.is_session,
            marker: asked.marker.as_ref(),
            counts: true,
        }));
        wanted.extend(markers.wanted());
        let mut slots = self.fetch(&wanted).await?;
        let marker_slots = slots.split_off(asked.len());
        let mut found: Vec<_> =
            slots.into_iter().map(|slot| Found { slot, marker: None }).collect();
        let mut is_late = false;
        for (asked, found) in asked.iter().zip(&mut found) {
            if !(asked.marker.is_some() && found.slot.stored().is_none_or(Stored::is_indexed)) {
                found.marker = self.met(asked, &mut found.slot).await;
                is_late |= found.marker.is_some();
            }
        }
        let mut revoked = markers.revoked(&marker_slots, asked, &found);
        if is_late {
            let late = Markers::new(found.iter().map(|found| found.marker.as_ref()));
            let slots = self.fetch(&late.wanted().collect::<Vec<_>>()).await?;
            revoked.extend(late.revoked(&slots, asked, &found));
        }
        for at in revoked {
            found[at].slot = KeyState::Tombstone;
        }
        Ok(found)
    }

    /// The marker of the owner of a session that this store does not know yet. One that another
    /// store left is indexed.
    async fn met(&self, asked: &Asked<'_>, slot: &mut KeyState) -> Option<Arc<str>> {
        let KeyState::Value(stored) = slot else { return None };
        if stored.is_record_of_another(asked.key) {
            *slot = KeyState::Absent;
            return None;
        }
        let user = Record::parse(asked.key, stored.text())?.user_id;
        if !stored.is_indexed() {
            // What fails now is done at the next read.
            let _ = self.engine.adopt(asked.key, &user, stored).await;
            *slot = KeyState::Value(Stored::record(stored.text()));
        }
        Some(marker_of(&user))
    }

    /// What a key holds, if the near cache knows.
    pub(super) fn cached(&self, key: &str) -> Option<Hit> {
        let hit = self.cache.as_ref()?.cached(key)?;
        let is_revoked = hit.text().is_some_and(|text| is_revoked(key, text, hit.marker()));
        Some(if is_revoked { Hit::absent() } else { hit })
    }
}
