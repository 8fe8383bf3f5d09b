//! Fetching values from the engine, by way of the near cache where there is one.

use std::sync::Arc;

use futures_util::future::try_join;
use tokio::sync::oneshot;

use super::not_before::owner_marker;
use super::parts::READ_AHEAD;
use super::state::{ListedSessions, Store};
use crate::clock::TwoClockTime;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::near_cache::{FlightLead, NearCache, ReadStart};
use crate::value::KeyState;

/// A key to be fetched.
#[derive(Clone)]
pub(super) struct KeyFetch<'k> {
    pub(super) key: &'k str,
    /// Whether it may enter the server's tracking table.
    pub(super) is_tracked: bool,
    /// Of a session, its owner's marker, if that is known.
    pub(super) marker: Option<&'k Arc<str>>,
    /// Whether a caller asked for it, so that metrics count it.
    pub(super) is_counted: bool,
}

/// A flight whose value the near cache may keep.
struct TrackedFlight<'c> {
    /// The place of its key among the fetched ones; `None`: it is read ahead.
    place: Option<usize>,
    lead: FlightLead<'c>,
    /// The owner's marker, if that is known.
    marker: Option<Arc<str>>,
}

/// The keys that were not in the near cache, by the way they are fetched. Numbers are the places
/// of the keys among the fetched ones.
#[derive(Default)]
struct CacheMisses<'c> {
    tracked: Vec<TrackedFlight<'c>>,
    untracked: Vec<(usize, FlightLead<'c>)>,
    /// Another caller's flight fetches these.
    joined: Vec<(usize, oneshot::Receiver<Result<KeyState>>)>,
    /// The near cache is off.
    uncached: Vec<usize>,
}

impl CacheMisses<'_> {
    /// Answers the waiters of all flights with an error.
    fn fail(self, error: &Error) {
        let tracked = self.tracked.into_iter().map(|flight| flight.lead);
        let untracked = self.untracked.into_iter().map(|(_, lead)| lead);
        tracked.chain(untracked).for_each(|lead| lead.answer_waiters(&Err(error.clone())));
    }
}

impl<E: Engine> Store<E> {
    /// What is stored under each of the keys, in their order.
    pub(super) async fn fetch(&self, fetches: &[KeyFetch<'_>]) -> Result<Vec<KeyState>> {
        if let Some(cache) = &self.cache {
            return self.fetch_through(cache, fetches).await;
        }
        let keys: Vec<_> = fetches.iter().map(|fetch| fetch.key).collect();
        self.wait_until_readable(keys.iter().copied()).await?;
        self.engine.get_many(&keys).await
    }

    /// Answers what the near cache holds and fetches the rest. Each key is fetched once, however
    /// many callers wait for it, and kept where the server reports its changes.
    async fn fetch_through(
        &self,
        cache: &NearCache,
        fetches: &[KeyFetch<'_>],
    ) -> Result<Vec<KeyState>> {
        let asked_at = TwoClockTime::now();
        let mut slots: Vec<_> = fetches.iter().map(|_| KeyState::Absent).collect();
        let mut misses = look_up(cache, fetches, &mut slots);
        if let Some(first) = misses.tracked.first()
            && let Some((_, listed)) = self.recently_listed.remove(first.lead.key())
        {
            self.read_ahead(cache, &listed, &mut misses.tracked).await;
        }
        let joined = std::mem::take(&mut misses.joined);
        self.fetch_misses(fetches, misses, asked_at, &mut slots).await?;
        let mut abandoned = Vec::new();
        for (at, answer) in joined {
            match answer.await {
                Ok(slot) => slots[at] = slot?,
                Err(_) => abandoned.push(at),
            }
        }
        if !abandoned.is_empty() {
            // The leader gave up: one of the callers that waited leads now.
            let again: Vec<_> = abandoned.iter().map(|at| fetches[*at].clone()).collect();
            let found = Box::pin(self.fetch_through(cache, &again)).await?;
            for (at, slot) in abandoned.into_iter().zip(found) {
                slots[at] = slot;
            }
        }
        Ok(slots)
    }

    /// Fetches what this caller leads or the near cache does not hold, and answers the waiters.
    async fn fetch_misses(
        &self,
        fetches: &[KeyFetch<'_>],
        misses: CacheMisses<'_>,
        asked_at: TwoClockTime,
        slots: &mut [KeyState],
    ) -> Result<()> {
        let tracked_keys: Vec<_> = misses.tracked.iter().map(|flight| flight.lead.key()).collect();
        let untracked = misses.untracked.iter().map(|(at, _)| *at);
        let other_places: Vec<_> = untracked.chain(misses.uncached.iter().copied()).collect();
        let other_keys: Vec<_> = other_places.iter().map(|at| fetches[*at].key).collect();
        let found = async {
            // Waits after the flights have begun: an end, or a write, that the journal takes over
            // from here on detaches them.
            if !tracked_keys.is_empty() || !other_keys.is_empty() {
                let keys = tracked_keys.iter().chain(&other_keys).copied();
                self.wait_until_readable(keys).await?;
            }
            try_join(self.engine.get_many_tracked(&tracked_keys), self.engine.get_many(&other_keys))
                .await
        };
        let (found, others) = match found.await {
            Ok(found) => found,
            Err(error) => {
                misses.fail(&error);
                return Err(error);
            }
        };
        for (TrackedFlight { place, lead, marker }, (slot, ttl_ms)) in
            misses.tracked.into_iter().zip(found)
        {
            let marker = marker.or_else(|| owner_marker(lead.key(), &slot));
            let slot = Ok(slot);
            lead.complete(&slot, asked_at, ttl_ms, marker.as_ref());
            if let (Some(at), Ok(slot)) = (place, slot) {
                slots[at] = slot;
            }
        }
        let mut untracked = misses.untracked.into_iter();
        for (at, slot) in other_places.into_iter().zip(others) {
            let slot = Ok(slot);
            if let Some((_, lead)) = untracked.next() {
                lead.answer_waiters(&slot);
            }
            slots[at] = slot?;
        }
        Ok(())
    }

    /// Begins to read the sessions of a list, as many as may be read together.
    async fn read_ahead<'c>(
        &self,
        cache: &'c NearCache,
        listed: &ListedSessions,
        flights: &mut Vec<TrackedFlight<'c>>,
    ) {
        let ids: Vec<_> = listed.ids.iter().skip(1).take(READ_AHEAD).map(String::as_str).collect();
        let keys = self.read_log.look_up(&ids);
        let count = self.parts(&keys).await.map_or(0, |parts| parts[0]);
        if let Some(ReadStart::LeadsFlight(lead)) = cache.start_read(&listed.marker, false) {
            flights.push(TrackedFlight { place: None, lead, marker: None });
        }
        for key in &keys[..count] {
            if let Some(ReadStart::LeadsFlight(lead)) = cache.start_read(key.key, true) {
                let marker = Some(listed.marker.clone());
                flights.push(TrackedFlight { place: None, lead, marker });
            }
        }
    }
}

/// Puts what the near cache holds into `slots`, and sorts the other keys.
fn look_up<'c>(
    cache: &'c NearCache,
    fetches: &[KeyFetch<'_>],
    slots: &mut [KeyState],
) -> CacheMisses<'c> {
    let mut misses = CacheMisses::default();
    for (at, KeyFetch { key, is_tracked, marker, is_counted }) in fetches.iter().enumerate() {
        match cache.start_read(key, *is_counted) {
            Some(ReadStart::Hit(hit)) => slots[at] = hit.into_slot(),
            Some(ReadStart::JoinedFlight(answer)) => misses.joined.push((at, answer)),
            Some(ReadStart::LeadsFlight(lead)) if *is_tracked => {
                misses.tracked.push(TrackedFlight {
                    place: Some(at),
                    lead,
                    marker: marker.cloned(),
                });
            }
            Some(ReadStart::LeadsFlight(lead)) => misses.untracked.push((at, lead)),
            None => misses.uncached.push(at),
        }
    }
    misses
}
