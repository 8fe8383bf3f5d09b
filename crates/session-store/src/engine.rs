//! Trait [`Engine`]: the atomic steps that the store's operations are made of, and the values that
//! go in and come out.
//!
//! An engine knows keys, records with an owner and an expiry, tombstones and the per-user index. It
//! knows nothing of Better Auth. Each method is one atomic step (on one Redis server: one command
//! or one script), so that a caller that dies between two steps leaves no half-done one behind.
//!
//! | key | holds |
//! |---|---|
//! | `<key_prefix><key>` | a value; a session record; or a tombstone, which hides the key from every reader |
//! | `<user_prefix><user>` | the user's index: a sorted set of session ids, scored by expiry in ms |

pub(crate) mod memory;
pub(crate) mod redis;

use std::future::{Future, ready};
use std::time::Duration;

use crate::clock::now_ms;
use crate::error::{Code, Error, Result};
use crate::keys::SESSION_LIST_PREFIX;
use crate::metrics::{DegradedMetrics, RevokeMetrics};
use crate::value::{KeyState, Stored};

/// A session may be created by a write that is at most this far from its `createdAt`, by the
/// engine's clock, in ms. Shorter than a tombstone's life: that is what keeps an ended session dead
/// after its tombstone is gone.
pub const YOUNG_MS: i64 = 120_000;

/// Index entries are dropped, and an index expires, this long after the entries' expiry, in ms.
/// Covers the time between an index step and its record step, and clocks that differ a little.
pub(crate) const INDEX_MARGIN_MS: i64 = 60_000;

/// An index entry has the record's own expiry when the engine's clock is as near as this to the
/// clock that it comes from, in ms. Otherwise it has the expiry by the engine's clock, so that a
/// wrong clock cannot drop a live session from its index.
pub(crate) const SAME_CLOCK_MS: i64 = 1000;

/// How keys are named, and how long tombstones live.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    pub(crate) key_prefix: String,
    pub(crate) user_prefix: String,
    pub(crate) tombstone_ms: u64,
}

impl Keyspace {
    pub(crate) fn key(&self, key: &str) -> String {
        [&self.key_prefix, key].concat()
    }

    /// Calls `visit` with each key as it lies in the store.
    pub(crate) fn each_key(&self, keys: &[&str], mut visit: impl FnMut(&str)) {
        let mut name = self.key_prefix.clone();
        for key in keys {
            name.truncate(self.key_prefix.len());
            name.push_str(key);
            visit(&name);
        }
    }

    pub(crate) fn index(&self, user: &str) -> String {
        [&self.user_prefix, user].concat()
    }

    pub(crate) fn prefix(&self, namespace: Namespace) -> &str {
        match namespace {
            Namespace::Keys => &self.key_prefix,
            Namespace::Users => &self.user_prefix,
        }
    }

    pub(crate) fn legacy_index(&self, user: &str) -> String {
        [&self.key_prefix, SESSION_LIST_PREFIX, user].concat()
    }
}

/// Whether a put may create the record it does not find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Create {
    /// The session's `createdAt` in ms since the epoch: only within [`YOUNG_MS`] of it.
    Young(i64),
    /// The caller asked for a new session.
    Always,
    /// Only replace.
    Never,
}

/// A session record on its way into the store.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    pub(crate) id: &'a str,
    pub(crate) user: &'a str,
    /// As it is to lie in the store.
    pub(crate) record: &'a Stored,
    /// Life of the record from now, in ms.
    pub(crate) ttl_ms: u64,
    /// When it ends by its own `expiresAt`, in ms since the epoch.
    pub(crate) expires_at: Option<i64>,
    /// What must lie there for the record to be replaced.
    pub(crate) expected: Option<&'a Stored>,
    pub(crate) create: Create,
    /// Whether a creation answers with the user's other session ids.
    pub(crate) list_others: bool,
}

/// The outcome of a put.
#[derive(Debug, PartialEq)]
pub(crate) enum PutOutcome {
    Created {
        /// The ids that the index had when this one first came into it.
        others: Vec<String>,
    },
    Replaced,
    /// There is a tombstone.
    Refused,
    /// There is nothing, and the session is not young by the engine's clock (ms since the epoch).
    TooOld {
        now: i64,
    },
    /// Another value lies there than was expected.
    Differs(Stored),
}

/// How many ids one step that ends or prunes looks at, at most, so that no other client waits long.
pub(crate) const IDS_PER_STEP: usize = 128;

/// Below every score.
pub(crate) const LOWEST_SCORE: &str = "-inf";

/// Which of a user's sessions are to be ended.
#[derive(Debug)]
pub(crate) struct EndSome<'a> {
    pub(crate) user: &'a str,
    /// One that stays.
    pub(crate) except: Option<&'a str>,
    /// [`IDS_PER_STEP`] ids at most; none: the first ones of the index, which the engine may leave
    /// to the next step.
    pub(crate) ids: &'a [String],
    /// The not-before marker to raise first, where `ids` is empty.
    pub(crate) marker: Option<&'a NotBeforeMarker>,
}

/// A not-before marker: a user's sessions from before it count as ended.
#[derive(Clone, Debug)]
pub(crate) struct NotBeforeMarker {
    pub(crate) key: String,
    /// In ms since the epoch.
    pub(crate) before: i64,
    /// It lives for so many ms at least, and as long as the user's index.
    pub(crate) life_ms: u64,
}

/// The outcome of ending some of a user's sessions.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct EndedSome {
    /// How many ids were examined: the first ones, as many as fit into one part.
    pub(crate) examined: usize,
    /// How many were live.
    pub(crate) live: u64,
    /// Their ids, among others that are dead.
    pub(crate) gone: Vec<String>,
    /// Those whose record the engine could not read for certain. They are left alone.
    pub(crate) undecided: Vec<String>,
    /// Whether these were all of the index.
    pub(crate) is_all: bool,
}

/// The outcome of pruning some entries of an index.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Pruned {
    /// As in [`EndedSome`].
    pub(crate) examined: usize,
    /// Entries removed.
    pub(crate) removed: u64,
    /// Ids left alone whose record is absent: a sign-in under way, or evicted.
    pub(crate) absent: Vec<String>,
    /// As in [`EndedSome`].
    pub(crate) is_all: bool,
}

/// One page of a scan over keys. The keys come without their prefix.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) keys: Vec<String>,
    /// Where to go on; 0 when this was the last page.
    pub(crate) cursor: u64,
}

/// Which keys a scan lists.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Namespace {
    /// Everything under `key_prefix`.
    Keys,
    /// The users that have an index.
    Users,
}

/// The error of a write over a session record of another application.
pub(crate) fn another_application() -> Error {
    Error::new(
        Code::Conflict,
        "the key holds a session of another application, whose keyPrefix begins with this one's: give each application a keyPrefix that no other begins with",
    )
}

/// The error of an increment of another value, or of the greatest number.
pub(crate) fn not_a_counter() -> Error {
    Error::new(Code::Conflict, "the key holds a value that is no counter, or one that cannot grow")
}

/// The atomic steps.
pub(crate) trait Engine: Send + Sync + 'static {
    /// The longest time between the steps of a put; zero where a put is one step. For so long, an
    /// id in an index without a record is a sign-in in flight. After that, its absence can be made
    /// sure by a tombstone.
    fn max_put_duration(&self) -> Duration {
        Duration::ZERO
    }

    /// What lies under a key.
    fn get(&self, key: &str) -> impl Future<Output = Result<KeyState>> + Send;

    /// What lies under each of the keys, in their order. Among several, a key of another type is
    /// absent.
    fn get_many(&self, keys: &[&str]) -> impl Future<Output = Result<Vec<KeyState>>> + Send;

    /// How long the values are that lie under the keys, in bytes; 0 where there is none.
    fn lengths(&self, keys: &[&str]) -> impl Future<Output = Result<Vec<usize>>> + Send;

    /// As [`Engine::get_many`], each with its life in ms (`None`: for ever). The server is to send
    /// an invalidation when one of them changes, if it can.
    fn get_many_tracked(
        &self,
        keys: &[&str],
    ) -> impl Future<Output = Result<Vec<(KeyState, Option<u64>)>>> + Send;

    /// Writes a value that is no session record, over anything but another application's session
    /// record, also over a tombstone.
    fn set(
        &self,
        key: &str,
        value: &str,
        ttl_ms: Option<u64>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Writes a decimal number unless a greater one lies there; the life is never shortened.
    /// Returns the number that lies there now.
    fn raise(
        &self,
        key: &str,
        value: i64,
        ttl_ms: Option<u64>,
    ) -> impl Future<Output = Result<i64>> + Send;

    /// Adds 1 to a counter; one that does not exist starts at 1 and gets the life. Carried out at
    /// most once.
    fn increment(&self, key: &str, ttl_ms: u64) -> impl Future<Output = Result<i64>> + Send;

    /// Indexes and writes a session record.
    fn put(&self, put: &Put<'_>) -> impl Future<Output = Result<PutOutcome>> + Send;

    /// Indexes a record that another store wrote, if it still lies there as it was read.
    fn adopt(
        &self,
        id: &str,
        user: &str,
        found: &Stored,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Ends a key: a session record becomes a tombstone and leaves its owner's index; another
    /// application's session record is left alone; any other value is deleted. Where nothing lies,
    /// a tombstone is left if `may_be_session`: a sign-in may be about to write there.
    fn end(&self, key: &str, may_be_session: bool) -> impl Future<Output = Result<()>> + Send;

    /// As [`Engine::end`], returning what lay there. Where nothing lies, nothing is left. Carried
    /// out at most once.
    fn take(&self, key: &str) -> impl Future<Output = Result<KeyState>> + Send;

    /// Ends sessions in a user's index, those whose record is the user's or absent: one part of
    /// them.
    fn end_some(&self, which: &EndSome<'_>) -> impl Future<Output = Result<EndedSome>> + Send;

    /// The ids in the users' indexes with their expiries in ms since the epoch, the soonest first.
    fn entries(
        &self,
        users: &[&str],
    ) -> impl Future<Output = Result<Vec<Vec<(String, i64)>>>> + Send;

    /// Some ids in a user's index with their scores, from a score on, the lowest first. From
    /// [`LOWEST_SCORE`] on, what another store left is among them.
    fn ids_from(
        &self,
        user: &str,
        from: &str,
        count: usize,
    ) -> impl Future<Output = Result<Vec<(String, String)>>> + Send;

    /// The ids in a user's index whose record is there, with their records; `None`: there are more
    /// than `most` ids, or no way to read them together.
    fn list(
        &self,
        user: &str,
        most: usize,
    ) -> impl Future<Output = Result<Option<Vec<(String, Stored)>>>> + Send;

    /// Removes index entries whose session is surely dead: of `ids`, [`IDS_PER_STEP`] at most; of
    /// none: of the first ones of the index, which the engine may leave to the next step. `claim`:
    /// ids seen absent long ago, whose absence is made sure by a tombstone.
    fn prune(
        &self,
        user: &str,
        claim: &[String],
        ids: &[String],
    ) -> impl Future<Output = Result<Pruned>> + Send;

    /// Lists keys. A key may come twice; one that exists during the whole scan comes at least once.
    fn scan(&self, namespace: Namespace, cursor: u64) -> impl Future<Output = Result<Page>> + Send;

    /// Waits until replicas have acknowledged that these keys were ended, as many as are wanted and
    /// for as long as the option `revoke` says. An event and [`Engine::revoke_metrics`] report how
    /// many did. An end that too few acknowledged is no failure.
    fn acknowledge(&self, _ended: &[&str]) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// How replicas acknowledged ends; `None`: the option `revoke` is off.
    fn revoke_metrics(&self) -> Option<RevokeMetrics> {
        None
    }

    /// How often servers answered slowly or had no memory left.
    fn degraded_metrics(&self) -> DegradedMetrics {
        DegradedMetrics::default()
    }

    /// The clock by which this process judges what has expired, in ms since the epoch.
    fn local_clock(&self) -> i64 {
        now_ms()
    }

    /// Makes [`Engine::local_clock`] follow a caller's clock, unless other processes share the
    /// sessions.
    fn follow_clock(&self, _now_ms: i64) {}

    /// The engine's own clock, in ms since the epoch.
    fn now(&self) -> impl Future<Output = Result<i64>> + Send;

    /// Returns once the engine has answered.
    fn ping(&self) -> impl Future<Output = Result<()>> + Send;
}
