//! Fetching values from the engine, by way of the near cache where there is one.

use std::sync::Arc;

use futures_util::future::try_join;

use super::not_before::owner_marker;
use super::parts::READ_AHEAD;
use super::state::{Listing, Store};
use crate::engine::Engine;
use crate::error::Result;
use crate::near_cache::{Begun, Lead, Moment, NearCache};
use crate::value::KeyState;

/// A key to be fetched.
#[derive(Clone)]
pub(super) struct Wanted<'k> {
    pub(super) key: &'k str,
    /// Whether it may enter the server's tracking table.
    pub(super) is_tracked: bool,
    /// Of a session, its owner's marker, if that is known.
    pub(super) marker: Option<&'k Arc<str>>,
    /// Whether a caller asked for it.
    pub(super) counts: bool,
}

/// A flight that is kept when it lands: the place of its key among the wanted ones, if it is one of
/// them, and its owner's marker, if that is known.
type Tracked<'c> = (Option<usize>, Lead<'c>, Option<Arc<str>>);

impl<E: Engine> Store<E> {
    pub(super) async fn fetch(&self, wanted: &[Wanted<'_>]) -> Result<Vec<KeyState>> {
        if let Some(cache) = &self.cache {
            return self.read_through(cache, wanted).await;
        }
        let keys: Vec<_> = wanted.iter().map(|wanted| wanted.key).collect();
        self.settled_for(keys.iter().copied()).await?;
        self.engine.get_many(&keys).await
    }

    /// What lies under the keys, each asked for once however many wait for it, and kept where the
    /// server tells of its changes.
    async fn read_through(
        &self,
        cache: &NearCache,
        wanted: &[Wanted<'_>],
    ) -> Result<Vec<KeyState>> {
        let asked = Moment::now();
        let mut slots: Vec<_> = wanted.iter().map(|_| KeyState::Absent).collect();
        let (mut tracked, mut untracked, mut joined, mut uncached) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (at, Wanted { key, is_tracked, marker, counts }) in wanted.iter().enumerate() {
            match cache.begin(key, *counts) {
                Some(Begun::Hit(hit)) => slots[at] = hit.into_slot(),
                Some(Begun::Joined(answer)) => joined.push((at, answer)),
                Some(Begun::Leads(lead)) if *is_tracked => {
                    tracked.push((Some(at), lead, marker.cloned()))
                }
                Some(Begun::Leads(lead)) => untracked.push((at, lead)),
                None => uncached.push(at),
            }
        }
        if let Some((_, first, _)) = tracked.first()
            && let Some((_, listing)) = self.listings.remove(first.key())
        {
            self.lead_listed(cache, &listing, &mut tracked).await;
        }
        let tracked_keys: Vec<_> = tracked.iter().map(|(_, lead, _)| lead.key()).collect();
        let other_places: Vec<_> = untracked.iter().map(|(at, _)| *at).chain(uncached).collect();
        let other_keys: Vec<_> = other_places.iter().map(|at| wanted[*at].key).collect();
        // After the flights have begun: an end, or a write, that is taken over from here on takes
        // them away.
        let found = async {
            if !tracked_keys.is_empty() || !other_keys.is_empty() {
                self.settled_for(tracked_keys.iter().chain(&other_keys).copied()).await?;
            }
            try_join(self.engine.get_many_tracked(&tracked_keys), self.engine.get_many(&other_keys))
                .await
        };
        let (found, others) = match found.await {
            Ok(found) => found,
            Err(error) => {
                let leads = tracked
                    .into_iter()
                    .map(|(_, lead, _)| lead)
                    .chain(untracked.into_iter().map(|(_, lead)| lead));
                leads.for_each(|lead| lead.tell(&Err(error.clone())));
                return Err(error);
            }
        };
        for ((at, lead, marker), (slot, life)) in tracked.into_iter().zip(found) {
            let marker = marker.or_else(|| owner_marker(lead.key(), &slot));
            let slot = Ok(slot);
            lead.land(&slot, asked, life, marker.as_ref());
            if let (Some(at), Ok(slot)) = (at, slot) {
                slots[at] = slot;
            }
        }
        let mut untracked = untracked.into_iter();
        for (at, slot) in other_places.into_iter().zip(others) {
            let slot = Ok(slot);
            if let Some((_, lead)) = untracked.next() {
                lead.tell(&slot);
            }
            slots[at] = slot?;
        }
        let mut left = Vec::new();
        for (at, answer) in joined {
            match answer.await {
                Ok(slot) => slots[at] = slot?,
                Err(_) => left.push(at),
            }
        }
        if !left.is_empty() {
            // Whoever read them has given up: one of those who waited reads now.
            let again: Vec<_> = left.iter().map(|at| wanted[*at].clone()).collect();
            for (at, slot) in
                left.into_iter().zip(Box::pin(self.read_through(cache, &again)).await?)
            {
                slots[at] = slot;
            }
        }
        Ok(slots)
    }

    /// Begins to read the sessions of a listing, as many as may be read together.
    async fn lead_listed<'c>(
        &self,
        cache: &'c NearCache,
        listing: &Listing,
        leads: &mut Vec<Tracked<'c>>,
    ) {
        let ahead: Vec<_> =
            listing.ids.iter().skip(1).take(READ_AHEAD).map(String::as_str).collect();
        let ahead = self.read_log.look_up(&ahead);
        let count = self.parts(&ahead).await.map_or(0, |parts| parts[0]);
        if let Some(Begun::Leads(lead)) = cache.begin(&listing.marker, false) {
            leads.push((None, lead, None));
        }
        for asked in &ahead[..count] {
            if let Some(Begun::Leads(lead)) = cache.begin(asked.key, true) {
                leads.push((None, lead, Some(listing.marker.clone())));
            }
        }
    }
}
