//! Reading keys: in parts, by way of the near cache, each session beside its owner's not-before
//! marker.
//!
//! A session that was created before its owner's marker is absent, whether or not its record has
//! been ended. The owner is known from earlier reads and writes ([`ReadLog`]), so that record and
//! marker are asked for together. Only a session's first read asks twice.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::try_join;

use super::{InFlight, Store, check_key};
use crate::cache::{Begun, Hit, Lead, Moment, NearCache, REVOKED_BEFORE};
use crate::command::{Text, Values};
use crate::engine::{Engine, LEGACY_INDEX};
use crate::error::Result;
use crate::read_log::{Asked, Serving};
use crate::registry::Take;
use crate::session::Record;
use crate::value::{Slot, Stored};

/// How much is read together at most, in bytes. A value that is larger is read alone.
pub const PART_BYTES: usize = 32 * 1024 * 1024;

/// So many keys are read together without a look at how long their values are.
const UNMEASURED: usize = 4;

/// Of how many values the length is remembered that the read log does not know.
pub(super) const LENGTHS: usize = 65_536;

/// How many listings are remembered until their records are asked for.
pub(super) const LISTINGS: usize = 256;

/// The most records that are read ahead, or listed together.
pub(super) const READ_AHEAD: usize = 1000;

/// Sessions that were listed together.
pub(super) struct Listing {
    /// Of their owner.
    marker: Arc<str>,
    ids: Vec<String>,
}

/// A key to be fetched.
#[derive(Clone)]
struct Wanted<'k> {
    key: &'k str,
    /// Whether it may enter the server's tracking table.
    is_tracked: bool,
    /// Of a session, its owner's marker, if that is known.
    marker: Option<&'k Arc<str>>,
    /// Whether a caller asked for it.
    counts: bool,
}

/// A flight that is kept when it lands: the place of its key among the wanted ones, if it is one of
/// them, and its owner's marker, if that is known.
type Tracked<'c> = (Option<usize>, Lead<'c>, Option<Arc<str>>);

/// What lies under a key.
struct Found {
    slot: Slot,
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

/// The key of a user's not-before marker.
pub(super) fn marker_of(user: &str) -> Arc<str> {
    [REVOKED_BEFORE, user].concat().into()
}

/// Whether a session that was created then (in ms since the epoch) is older than its owner's marker
/// says. Better Auth compares in the same way. A session that does not tell when it was created is
/// taken for older.
fn is_older(created_at: Option<i64>, marker: &str) -> bool {
    marker
        .parse::<f64>()
        .is_ok_and(|before| created_at.is_none_or(|created_at| (created_at as f64) < before))
}

/// As [`is_older`], of a text. `marker`: its text, if there is one.
fn is_revoked(token: &str, text: &str, marker: Option<&str>) -> bool {
    marker.is_some_and(|marker| {
        Record::parse(token, text).is_some_and(|record| is_older(record.created_at(), marker))
    })
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
    fn revoked(&self, slots: &[Slot], asked: &[&Asked<'_>], found: &[Found]) -> Vec<usize> {
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
    pub(crate) async fn read_in_parts(
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

    /// How many of the keys to read together, after one another.
    async fn parts(&self, asked: &[Asked<'_>]) -> Result<Vec<usize>> {
        Ok(parts_of(&self.lengths(asked).await?, PART_BYTES))
    }

    /// As [`Store::parts`], of so many bytes at most.
    pub(super) async fn parts_within(&self, keys: &[&str], most: usize) -> Result<Vec<usize>> {
        Ok(parts_of(&self.lengths(&self.read_log.look_up(keys)).await?, most))
    }

    /// How long the values are, in bytes: as far as is known, else as the engine tells.
    async fn lengths(&self, asked: &[Asked<'_>]) -> Result<Vec<usize>> {
        // What this store makes by itself is short: a number, or a list of tokens.
        let is_short = |key: &str| key.starts_with(REVOKED_BEFORE) || key.starts_with(LEGACY_INDEX);
        let known = |asked: &Asked<'_>| {
            asked
                .length
                .or_else(|| self.lengths.get(&asked.hash))
                .or(is_short(asked.key).then_some(0))
        };
        let mut lengths: Vec<_> = asked.iter().map(known).collect();
        let unknown: Vec<_> = (0..asked.len()).filter(|at| lengths[*at].is_none()).collect();
        if unknown.len() > UNMEASURED {
            self.settled().await?;
            let keys: Vec<_> = unknown.iter().map(|at| asked[*at].key).collect();
            for (at, length) in unknown.into_iter().zip(self.engine.lengths(&keys).await?) {
                lengths[at] = Some(length);
            }
        }
        Ok(lengths.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// The values of several keys, read together: one step of the engine for all that lie under
    /// their own key.
    pub(super) async fn read(&self, asked: &[Asked<'_>], is_trusted: bool) -> Result<Values> {
        for asked in asked {
            check_key("key", asked.key)?;
        }
        let users: Vec<_> =
            asked.iter().filter_map(|asked| asked.key.strip_prefix(LEGACY_INDEX)).collect();
        let own: Vec<_> =
            asked.iter().filter(|asked| !asked.key.starts_with(LEGACY_INDEX)).collect();
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
            if asked.key.starts_with(LEGACY_INDEX) {
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
            found[at].slot = Slot::Ended;
        }
        Ok(found)
    }

    /// The marker of the owner of a session that this store does not know yet. One that another
    /// store left is indexed.
    async fn met(&self, asked: &Asked<'_>, slot: &mut Slot) -> Option<Arc<str>> {
        let Slot::Value(stored) = slot else { return None };
        if stored.is_record_of_another(asked.key) {
            *slot = Slot::Absent;
            return None;
        }
        let user = Record::parse(asked.key, stored.text())?.user_id;
        if !stored.is_indexed() {
            // What fails now is done at the next read.
            let _ = self.engine.adopt(asked.key, &user, stored).await;
            *slot = Slot::Value(Stored::record(stored.text()));
        }
        Some(marker_of(&user))
    }

    async fn fetch(&self, wanted: &[Wanted<'_>]) -> Result<Vec<Slot>> {
        if let Some(cache) = &self.cache {
            return self.read_through(cache, wanted).await;
        }
        let keys: Vec<_> = wanted.iter().map(|wanted| wanted.key).collect();
        self.settled_for(keys.iter().copied()).await?;
        self.engine.get_many(&keys).await
    }

    /// What lies under the keys, each asked for once however many wait for it, and kept where the
    /// server tells of its changes.
    async fn read_through(&self, cache: &NearCache, wanted: &[Wanted<'_>]) -> Result<Vec<Slot>> {
        let asked = Moment::now();
        let mut slots: Vec<_> = wanted.iter().map(|_| Slot::Absent).collect();
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

    /// Remembers that these sessions of a user will be asked for one after another: Better Auth
    /// does so with what it lists.
    pub(super) fn expect_reads(&self, user: &str, mut ids: Vec<String>) {
        let Some(cache) = &self.cache else { return };
        self.read_log.met(&ids);
        ids.retain(|id| cache.life_ms(id) == 0.0);
        if ids.len() > 1 {
            self.listings
                .insert(ids[0].clone(), Arc::new(Listing { marker: marker_of(user), ids }));
        }
    }

    /// Whether a session of a user that was created then (in ms since the epoch) is revoked by the
    /// user's marker.
    pub(super) async fn revoked(
        &self,
        user: &str,
    ) -> Result<impl Fn(Option<i64>) -> bool + use<E>> {
        let marker = self.engine.get(&marker_of(user)).await?.value();
        Ok(move |created_at| {
            marker.as_ref().is_some_and(|marker| is_older(created_at, marker.text()))
        })
    }

    /// What the engine holds of a session.
    pub(super) async fn session_now(&self, token: &str) -> Result<Slot> {
        let known = self.read_log.look_up(&[token]).pop().and_then(|asked| asked.marker);
        let keys: Vec<_> = [token].into_iter().chain(known.as_deref()).collect();
        let mut slots = self.engine.get_many(&keys).await?.into_iter();
        let (slot, marker) = (slots.next().unwrap_or(Slot::Absent), slots.next());
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
        Ok(if is_revoked { Slot::Ended } else { slot })
    }

    /// What a key holds, if the near cache knows.
    pub(crate) fn cached(&self, key: &str) -> Option<Hit> {
        let hit = self.cache.as_ref()?.cached(key)?;
        let is_revoked = hit.text().is_some_and(|text| is_revoked(key, text, hit.marker()));
        Some(if is_revoked { Hit::absent() } else { hit })
    }

    /// `active-sessions-<user>` as Better Auth expects it: `[{"token":…,"expiresAt":ms}]`, the
    /// soonest first.
    pub(super) async fn index_views(&self, users: &[&str]) -> Result<Vec<Option<String>>> {
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
        self.settled_for_users(users).await?;
        let indexes = self.engine.entries(users).await?;
        Ok(users.iter().zip(indexes).map(view).collect())
    }
}

/// The marker of the owner of a session.
fn owner_marker(key: &str, slot: &Slot) -> Option<Arc<str>> {
    let stored = slot.stored().filter(|stored| stored.is_indexed())?;
    Record::parse(key, stored.text()).map(|record| marker_of(&record.user_id))
}

/// How many values of these lengths come to `most` at a time; one that is longer comes alone.
fn parts_of(lengths: &[usize], most: usize) -> Vec<usize> {
    let (mut parts, mut bytes) = (vec![0], 0);
    for length in lengths {
        if bytes + length > most && parts.last() != Some(&0) {
            parts.push(0);
            bytes = 0;
        }
        bytes += length;
        *parts.last_mut().expect("there is one") += 1;
    }
    parts
}
