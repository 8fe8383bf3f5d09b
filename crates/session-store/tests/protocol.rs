//! The session protocol, checked by exhaustive interleaving. A model, not the product: a process is
//! a chain of atomic steps, each on one key (Cluster gives no more), and every order of the steps
//! of all processes is tried, with a crash of any process between any two of its steps and with the
//! scenario's mishap at any moment.
//!
//! [`Rule`] lists the rules of put, limit, end, end-all and list. What must hold ([`Broken`] names
//! the failures):
//! 1. A live session is in its owner's index (or in the legacy list that is still to be folded in).
//! 2. An acknowledged end is final: that session, and each that was live when an acknowledged
//!    end-all began, is never live again.
//! 3. No session goes unasked, and the limit holds: as many live as are allowed, the newest but for
//!    the one that came last. A sign-in that crashed before it enforced the limit, or whose index
//!    step went unheard at first, may leave one session too many, until the next sign-in. A
//!    password alone ends nothing where a second factor is wanted.
//!
//! Change a rule here first: a failure prints the shortest trace. Not modelled: the merging of
//! fields (`src/session/merge/schedules.rs` explores it; here a put writes its expiry, be it
//! shorter or longer), the user half (`user_half.rs`), a put that folds a legacy list.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use Age::*;
use Broken::*;
use Record::*;
use Rule::*;
use Step::*;

/// The rules in force. What is done without one stands where the code asks for it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    IndexFirst,              // put: the index step goes before the record step
    ScoresRise,              // put: an index score only rises (`ZADD GT`)
    TombstoneRefuses,        // put: a tombstone refuses it
    OldIsNeverCreated,       // put: an old session may be replaced, never created
    OwnerNeverChanges,       // put: another owner's record refuses it (CONFLICT)
    LimitByCreator,          // limit: only a put that created its record enforces it
    LimitNeverItself,        // limit: the session that was put is not ended
    LimitInFixedOrder,       // limit: the oldest go first, whatever their scores
    LimitDropsTombstoned,    // limit: tombstoned ids do not count
    LimitCountsAbsent,       // limit: absent ids count as live, being sign-ins in flight
    LimitClaimsAbsent, // limit: no session is ended while one is absent, whose `createdAt` is unknown: that is claimed
    LimitWaits,        // limit: an absent id is claimed only if no process is about to write it
    LimitEntersOnce, // limit: only the first entry of an id enforces it, as who came between sees it as well
    LimitSparesOthers, // limit: another owner's record neither counts nor is ended
    LimitUnindexesLast, // limit: no id leaves the index before its tombstone stands
    LimitDefers, // limit: a session of a user with two factors enforces it later than a request takes
    LimitDefersForLive, // limit: and only if it still lives then
    LimitSparesImpersonated, // limit: a session with `impersonatedBy` enforces nothing, does not count and is not ended
    AbsentIsEnded,           // end: an absent record gets a tombstone too
    MarkerFirst, // end-all but for one that spares a session: it first raises the marker, and readers refuse what is older
    LegacyReadFirst, // end-all: the legacy list, then the index, as ids move that way
    EndAllSparesOthers, // end-all: another owner's record is not ended
    EndAllUnindexesEnded, // end-all: with each part exactly the ended ids leave the index (never `DEL`)
    ListSparesAbsent,     // list: absent ids stay in the index, being sign-ins in flight
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Broken {
    Unindexed,
    Revived,
    OverLimit,
    OverLimitAfterCrash,
    OverLimitForGood, // one more sign-in does not repair it
    Lost,             // a session that no caller asked to end
    TooFew,           // as the limit ended more than the surplus
}

#[derive(Clone, Copy)]
struct Rules {
    limit: usize,
    left_out: Option<Rule>,
    two_factor: &'static [Id],
    password_alone: &'static [Id],
    impersonated: &'static [Id],
}

impl Rules {
    fn has(self, rule: Rule) -> bool {
        self.left_out != Some(rule)
    }

    fn defers(self, id: Id) -> bool {
        self.has(LimitDefers) && self.two_factor.contains(&id)
    }

    fn spares(self, id: Id) -> bool {
        self.has(LimitSparesImpersonated) && self.impersonated.contains(&id)
    }
}

/// Alphabetical in the order of `createdAt`.
type Id = char;
type User = char;

/// Its id, owner, expiry and age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Session(Id, User, u8, Age);

/// Young is under 120 s, by the clock of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Age {
    Young,
    Old,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Record {
    Live(User, u8), // with its expiry
    Tombstone,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Redis {
    now: u8,
    records: BTreeMap<Id, Record>,
    index: BTreeMap<(User, Id), u8>, // the scores
    legacy: BTreeSet<(User, Id)>,
    /// The not-before markers: a user's sessions before this one are refused.
    marks: BTreeMap<User, Id>,
}

/// The atomic steps, and what the checks look at.
impl Redis {
    fn get(&self, id: Id) -> Option<Record> {
        let record = *self.records.get(&id)?;
        let expired = matches!(record, Live(_, expires) if expires <= self.now);
        (!expired).then_some(record)
    }

    /// Nobody's when it is not live.
    fn owner(&self, id: Id) -> Option<User> {
        if let Live(owner, _) = self.get(id)? { Some(owner) } else { None }
    }

    /// Whose session a reader is given.
    fn read(&self, id: Id) -> Option<User> {
        self.owner(id).filter(|owner| self.marks.get(owner).is_none_or(|mark| *mark <= id))
    }

    fn live(&self) -> impl Iterator<Item = (User, Id)> {
        self.records.keys().filter_map(|id| Some((self.read(*id)?, *id)))
    }

    fn indexed(&self, user: User) -> Vec<Id> {
        ids_of(user, self.index.keys().copied())
    }

    fn listed(&self, user: User) -> Vec<Id> {
        ids_of(user, self.legacy.iter().copied())
    }

    /// A put's index step. Returns what the limit has to weigh, in the order in which to end it.
    fn index(&mut self, Session(id, owner, expires, _): Session, rules: Rules) -> Vec<Id> {
        let now = self.now;
        self.index.retain(|k, score| k.0 != owner || *score > now);
        let is_first = !self.index.contains_key(&(owner, id));
        if !rules.has(ScoresRise) {
            self.index.remove(&(owner, id));
        }
        self.raise_score(owner, id, expires);

        let mut ids = self.indexed(owner);
        let surplus = ids.len().saturating_sub(rules.limit);
        if surplus == 0 || !is_first && rules.has(LimitEntersOnce) {
            return vec![];
        }
        if !rules.has(LimitInFixedOrder) {
            ids.sort_by_key(|id| self.index[&(owner, *id)]);
        }
        if rules.has(LimitNeverItself) {
            ids.retain(|other| *other != id);
        }
        if !rules.has(LimitUnindexesLast) {
            self.unindex(owner, &ids[..surplus]);
        }
        ids
    }

    fn raise_score(&mut self, user: User, id: Id, to: u8) {
        let score = self.index.entry((user, id)).or_default();
        *score = to.max(*score);
    }

    /// A put's record step. Returns whether the record was created.
    fn write(&mut self, session: Session, rules: Rules) -> bool {
        let Session(id, owner, expires, age) = session;
        let created = match self.get(id) {
            Some(Tombstone) if rules.has(TombstoneRefuses) => return false,
            Some(Live(other, _)) if other != owner && rules.has(OwnerNeverChanges) => return false,
            Some(Live(..)) => false,
            _ if age == Old && rules.has(OldIsNeverCreated) => return false,
            _ => true,
        };
        self.records.insert(id, Live(owner, expires));
        created
    }

    /// Returns in whose index the session is.
    fn end(&mut self, id: Id, rules: Rules) -> Option<User> {
        let owner = self.owner(id);
        if self.get(id).is_some() || rules.has(AbsentIsEnded) {
            self.records.insert(id, Tombstone);
        }
        owner
    }

    fn unindex(&mut self, user: User, ids: &[Id]) {
        self.index.retain(|k, _| k.0 != user || !ids.contains(&k.1));
    }
}

fn ids_of(user: User, entries: impl Iterator<Item = (User, Id)>) -> Vec<Id> {
    entries.filter(|entry| entry.0 == user).map(|entry| entry.1).collect()
}

/// A step that a process has still to take, with what it remembers for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    // put: Refresh? Unheard? Put Write (without IndexFirst: Put Index), then the limit: (End?
    // Later)? Weigh* (Claim* Weigh*)* End*
    Refresh(Session),
    Unheard(Session), // an index step whose answer was lost: it is sent again
    Put(Session),
    Write(Session, Vec<Id>),                // what the index step returned
    Index(Session, bool),                   // what the record step returned
    Later(User, Id, Vec<Id>), // what the index step returned for a session that was created 5 s ago
    Weigh(User, Vec<Id>, Vec<Id>, Vec<Id>), // the others yet to be looked at, those that count: present, absent
    Claim(User, Id),
    // end: End Unindex? Acknowledge
    End(Id),
    Unindex(User, Id),
    Acknowledge(Vec<Id>),
    // take: Take (Unindex Acknowledge)?
    Take(Id), // getAndDelete: ends what it finds, and leaves nothing where it finds nothing
    // end-all: EndAll ReadFirst Gather (EndOwn Leave?)* Acknowledge; without an exception, Revoke
    // Raise ReadFirst and so on
    EndAll(User),
    Revoke(User),
    Raise(User, Id),
    ReadFirst(User),
    Gather(User, Vec<Id>),
    EndOwn(User, BTreeSet<Id>),
    Leave(User, Id), // what a part has ended
    // list: List (Look Unindex?)*
    List(User),
    Look(User, Id),
    // the folding of a legacy list into the index: Import FoldIn DropLegacy
    Import(User),
    FoldIn(User, Vec<Id>),
    DropLegacy(User),
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct State {
    redis: Redis,
    /// What each process has still to do.
    todo: Vec<Vec<Step>>,
    /// The ids whose end was acknowledged.
    ended: BTreeSet<Id>,
    crashed: bool,
    /// Whether the mishap has happened.
    struck: bool,
}

impl State {
    fn advance(&mut self, process: usize, rules: Rules) {
        let step = self.todo[process].remove(0);
        let then = self.take(step, rules);
        self.todo[process].splice(..0, then);
    }

    /// Returns the steps that follow from this one.
    fn take(&mut self, step: Step, rules: Rules) -> Vec<Step> {
        let redis = &mut self.redis;
        let mut then = vec![];
        match step {
            Refresh(it) => then.extend(redis.read(it.0).map(|_| Put(it))),
            Unheard(it) => {
                redis.index(it, rules);
                then.push(Put(it));
            }
            Put(it) if rules.has(IndexFirst) => then.push(Write(it, redis.index(it, rules))),
            Put(it) => then.push(Index(it, redis.write(it, rules))),
            Write(it, others) => then.extend(limit(it, redis.write(it, rules), others, rules)),
            Index(it, created) => then.extend(limit(it, created, redis.index(it, rules), rules)),
            Later(user, id, others) => {
                let lives = redis.owner(id).is_some() || !rules.has(LimitDefersForLive);
                then.extend(lives.then_some(Weigh(user, others, vec![], vec![])));
            }
            Weigh(user, others, present, absent) if others.is_empty() => {
                let itself = usize::from(rules.has(LimitNeverItself));
                let surplus = (present.len() + absent.len() + itself).saturating_sub(rules.limit);
                if absent.is_empty() || !rules.has(LimitClaimsAbsent) {
                    then.extend([present, absent].concat().into_iter().take(surplus).map(End));
                } else if surplus > 0 {
                    then.extend(absent.iter().take(surplus).map(|id| Claim(user, *id)));
                    let mut again = [present, absent].concat();
                    again.sort();
                    then.push(Weigh(user, again, vec![], vec![]));
                }
            }
            Weigh(user, mut others, mut present, mut absent) => {
                let id = others.remove(0);
                match redis.get(id) {
                    Some(Live(owner, _)) if owner != user && rules.has(LimitSparesOthers) => {}
                    Some(Live(..)) if rules.spares(id) => {}
                    Some(Tombstone) if rules.has(LimitDropsTombstoned) => {}
                    Some(_) => present.push(id),
                    None if rules.has(LimitCountsAbsent) => absent.push(id),
                    None => {}
                }
                then.push(Weigh(user, others, present, absent));
            }
            Claim(user, id) => {
                if redis.get(id).is_none() {
                    redis.records.insert(id, Tombstone);
                }
                then.extend((redis.get(id) == Some(Tombstone)).then_some(Unindex(user, id)));
            }

            End(id) => {
                let owner = redis.end(id, rules);
                then.extend(owner.map(|owner| Unindex(owner, id)));
                then.push(Acknowledge(vec![id]));
            }
            Take(id) => {
                if let Some(owner) = redis.owner(id) {
                    redis.end(id, rules);
                    then.extend([Unindex(owner, id), Acknowledge(vec![id])]);
                }
            }
            Unindex(user, id) => redis.unindex(user, &[id]),
            Acknowledge(ids) => self.ended.extend(ids),

            EndAll(user) => {
                then.extend([ReadFirst(user), Acknowledge(ids_of(user, redis.live()))]);
            }
            Revoke(user) => {
                let live = ids_of(user, redis.live());
                let now = live.last().map_or('a', |last| char::from_u32(*last as u32 + 1).unwrap());
                let raise = Raise(user, now);
                let steps = [ReadFirst(user), Acknowledge(live)];
                if rules.has(MarkerFirst) {
                    then.push(raise);
                    then.extend(steps);
                } else {
                    then.extend(steps);
                    then.push(raise);
                }
            }
            Raise(user, now) => {
                let mark = redis.marks.entry(user).or_insert(now);
                *mark = now.max(*mark);
            }
            ReadFirst(user) => then.push(Gather(user, reads(rules)[0](redis, user))),
            Gather(user, mut found) => {
                found.extend(reads(rules)[1](redis, user));
                then.push(EndOwn(user, BTreeSet::from_iter(found)));
            }
            EndOwn(user, mut found) => {
                if let Some(id) = found.pop_first() {
                    let foreign = redis.owner(id).is_some_and(|owner| owner != user);
                    if !foreign || !rules.has(EndAllSparesOthers) {
                        redis.end(id, rules);
                        then.push(Leave(user, id));
                    }
                    then.push(EndOwn(user, found));
                }
            }
            Leave(user, id) if rules.has(EndAllUnindexesEnded) => redis.unindex(user, &[id]),
            Leave(user, _) => redis.index.retain(|entry, _| entry.0 != user),

            List(user) => then.extend(redis.indexed(user).iter().map(|id| Look(user, *id))),
            Look(user, id) => match redis.get(id) {
                Some(Live(..)) => {}
                None if rules.has(ListSparesAbsent) => {}
                _ => then.push(Unindex(user, id)),
            },

            Import(user) => then.extend([FoldIn(user, redis.listed(user)), DropLegacy(user)]),
            FoldIn(user, ids) => ids.iter().for_each(|id| redis.raise_score(user, *id, LONG)),
            DropLegacy(user) => redis.legacy.retain(|entry| entry.0 != user),
        }
        then
    }
}

/// What follows the creation of a session. Two-factor's own request ends the one that a password
/// alone has created.
fn limit(
    Session(id, user, ..): Session,
    created: bool,
    others: Vec<Id>,
    rules: Rules,
) -> Vec<Step> {
    let enforces =
        (created || !rules.has(LimitByCreator)) && !rules.spares(id) && !others.is_empty();
    let by_request = (created && rules.password_alone.contains(&id)).then_some(End(id));
    let later = (enforces && rules.defers(id)).then(|| Later(user, id, others.clone()));
    let at_once = (enforces && later.is_none()).then_some(Weigh(user, others, vec![], vec![]));
    at_once.into_iter().chain(by_request).chain(later).collect()
}

/// Where an end-all looks for ids, in that order.
fn reads(rules: Rules) -> [fn(&Redis, User) -> Vec<Id>; 2] {
    if rules.has(LegacyReadFirst) {
        [Redis::listed, Redis::indexed]
    } else {
        [Redis::indexed, Redis::listed]
    }
}

/// What may befall Redis, once in a run.
type Mishap = fn(&mut Redis);

const TICK: Mishap = |redis| redis.now += 1;
const TOMBSTONE_EXPIRES: Mishap = |redis| redis.records.retain(|_, r| *r != Tombstone);
const RECORD_EVICTED: Mishap = |redis| redis.records.retain(|_, r| *r == Tombstone);
const INDEX_EVICTED: Mishap = |redis| redis.index.clear();

#[derive(Default)]
struct Scenario {
    name: &'static str,
    redis: Redis,
    ops: Vec<Step>,
    mishap: Option<Mishap>,
    limit: Option<usize>,
    kept: &'static [Id],           // no caller asks to end these
    at_least: usize,               // so many stay live
    is_late: bool,                 // who writes takes longer than others wait for him
    two_factor: &'static [Id],     // their user half has `twoFactorEnabled`
    password_alone: &'static [Id], // their own request ends them
    impersonated: &'static [Id],
    exceptions: &'static [Broken],
}

impl Scenario {
    /// Each way in which it breaks, with the shortest trace that leads there.
    fn explore(&self, left_out: Option<Rule>) -> BTreeMap<Broken, String> {
        let Scenario { two_factor, password_alone, impersonated, .. } = *self;
        let limit = self.limit.unwrap_or(usize::MAX);
        let rules = Rules { limit, left_out, two_factor, password_alone, impersonated };
        let todo = self.ops.iter().map(|op| vec![op.clone()]).collect();
        let start = State { redis: self.redis.clone(), todo, ..State::default() };
        let mut seen = HashSet::from([start.clone()]);
        let mut visits = vec![(start, 0, "start".to_string())];
        let mut found = BTreeMap::new();
        let mut at = 0;
        while at < visits.len() {
            for broken in self.broken(&visits[at].0, rules) {
                found.entry(broken).or_insert_with(|| trace(&visits, at));
            }
            for (state, happened) in self.next(&visits[at].0, rules) {
                if seen.insert(state.clone()) {
                    visits.push((state, at, happened));
                }
            }
            at += 1;
        }
        found
    }

    /// All that may happen next, each with its name.
    fn next(&self, state: &State, rules: Rules) -> Vec<(State, String)> {
        let mut all = vec![];
        if let Some(strike) = self.mishap.filter(|_| !state.struck) {
            let mut next = State { struck: true, ..state.clone() };
            strike(&mut next.redis);
            if next.redis != state.redis {
                all.push((next, "mishap".to_string()));
            }
        }
        for (i, op) in self.ops.iter().enumerate() {
            let Some(step) = state.todo[i].first() else { continue };
            if self.waits(state, step, rules) {
                continue;
            }
            if step != op {
                let mut next = State { crashed: true, ..state.clone() };
                next.todo[i].clear();
                all.push((next, format!("{i}: crash")));
            }
            let mut next = state.clone();
            next.advance(i, rules);
            all.push((next, format!("{i}: {step:?}")));
        }
        all
    }

    /// Whether the process that is about to take this step gives another process time first.
    fn waits(&self, state: &State, step: &Step, rules: Rules) -> bool {
        let writes = |todo: &Vec<Step>, id| matches!(todo.first(), Some(Write(session, _)) if session.0 == id);
        // Of those with two factors a request has ended when only `Later`, or what follows from it,
        // is left.
        let requests = |todo: &Vec<Step>| todo.iter().skip(1).any(|step| matches!(step, Later(..)));
        let is_of = |op: &Step, ids: &[Id]| matches!(op, Put(session) if ids.contains(&session.0));
        match step {
            Claim(_, id) => {
                rules.has(LimitWaits)
                    && !self.is_late
                    && state.todo.iter().any(|todo| writes(todo, *id))
            }
            // They entered before it, and no request takes so long.
            Later(_, _, others) => self.ops.iter().zip(&state.todo).any(|(op, todo)| {
                is_of(op, others) && (requests(todo) || matches!(todo.first(), Some(Write(..))))
            }),
            _ => false,
        }
    }

    fn broken(&self, state: &State, rules: Rules) -> impl Iterator<Item = Broken> {
        let redis = &state.redis;
        let gone = |id: &Id| redis.read(*id).is_none();
        let known = |key| redis.index.contains_key(&key) || redis.legacy.contains(&key);
        let counts = |it: &(User, Id)| it.0 == 'u' && !self.impersonated.contains(&it.1);
        let over = |redis: &Redis| redis.live().filter(counts).count() > rules.limit;
        let quiet = state.todo.iter().all(Vec::is_empty);
        let (clean, crashed) = (quiet && !state.crashed, quiet && state.crashed);
        let after_sign_in = || over(&after_sign_in(redis, rules));
        let checks = [
            (Revived, !state.ended.iter().all(gone)),
            (Unindexed, quiet && !redis.live().all(known)),
            (OverLimit, clean && over(redis)),
            (OverLimitAfterCrash, crashed && over(redis)),
            (OverLimitForGood, quiet && after_sign_in()),
            (Lost, clean && self.kept.iter().any(gone)),
            (TooFew, clean && redis.live().count() < self.at_least),
        ];
        checks.into_iter().filter(|check| check.1).map(|check| check.0)
    }
}

fn after_sign_in(redis: &Redis, rules: Rules) -> Redis {
    let todo = vec![vec![sign_in('z', LONG)]];
    let mut state = State { redis: redis.clone(), todo, ..State::default() };
    while !state.todo[0].is_empty() {
        state.advance(0, rules);
    }
    state.redis
}

fn trace(visits: &[(State, usize, String)], at: usize) -> String {
    let (state, from, happened) = &visits[at];
    let before = if at == 0 { String::new() } else { trace(visits, *from) };
    format!("{before}  {happened}\n      {:?}\n", state.redis)
}

/// An expiry that no run reaches.
const LONG: u8 = 9;

/// Each is in the index of `u`, and in its owner's.
fn redis<const N: usize>(records: [(Id, Record); N]) -> Redis {
    let mut redis = Redis::default();
    for (id, record) in records {
        let (owner, score) =
            if let Live(owner, expires) = record { (owner, expires) } else { ('u', LONG) };
        redis.records.insert(id, record);
        redis.index.extend([(('u', id), score), ((owner, id), score)]);
    }
    redis
}

fn one() -> Redis {
    redis([('a', Live('u', LONG))])
}

fn two() -> Redis {
    redis([('a', Live('u', 5)), ('b', Live('u', 6))])
}

fn legacy() -> Redis {
    let mut redis = one();
    redis.index.clear();
    redis.legacy.insert(('u', 'a'));
    redis
}

fn sign_in(id: Id, expires: u8) -> Step {
    Put(Session(id, 'u', expires, Young))
}

fn four() -> [Step; 4] {
    ['b', 'c', 'd', 'e'].map(|id| sign_in(id, LONG))
}

fn refresh(id: Id, expires: u8, age: Age) -> Step {
    Refresh(Session(id, 'u', expires, age))
}

/// Rows of `name: Redis => operations, then what is not default`.
macro_rules! scenarios {
    ($($name:literal: $redis:expr => $ops:expr $(, $field:ident: $value:expr)*;)*) => {
        vec![$(Scenario {
            name: $name,
            redis: $redis,
            ops: $ops.into(),
            $($field: $value,)*
            ..Scenario::default()
        }),*]
    };
}

/// A sign-in that crashed before it enforced the limit.
const ONE_OVER: &[Broken] = &[OverLimitAfterCrash];
/// Nor does one whose index step was answered only when sent again: it does not know who came
/// before it.
const ONE_OVER_UNHEARD: &[Broken] = &[OverLimit, OverLimitAfterCrash];
/// Redis must not evict the index.
const NO_INDEX: &[Broken] = &[Unindexed, Revived];
/// The marker ends what is in no index.
const NO_INDEX_BUT_MARKER: &[Broken] = &[Unindexed];
/// A tombstone (300 s) that is gone while its session is young (120 s): time excludes it.
const TOO_EARLY: &[Broken] = &[Unindexed, Revived];

fn scenarios() -> Vec<Scenario> {
    scenarios! {
        "S1": one() => [refresh('a', 9, Old), End('a')];
        "S2": one() => [refresh('a', 9, Old), EndAll('u')];
        "S3": two() => [refresh('a', 9, Old), EndAll('u'), End('b')];
        "S4": one() => [sign_in('c', 9), List('u')], kept: &['a', 'c'];
        "S5": one() => [sign_in('c', 9), EndAll('u'), List('u')];
        "S6": one() => [refresh('a', 9, Old), refresh('a', 8, Old), End('a'), List('u')];
        "S7": one() => [refresh('a', 9, Old), End('a')], mishap: Some(RECORD_EVICTED);
        "S8": one() => [refresh('a', 9, Old), List('u'), EndAll('u')], mishap: Some(RECORD_EVICTED);
        "S9": one() => [sign_in('b', 9), sign_in('c', 10)], limit: Some(1), at_least: 1, exceptions: ONE_OVER;
        "S10": one() => [sign_in('b', 10), refresh('a', 11, Old)], limit: Some(1), at_least: 1, exceptions: ONE_OVER;
        "S11": two() => [sign_in('c', 9), EndAll('u')], limit: Some(2), exceptions: ONE_OVER;
        "S12": two() => [sign_in('c', 7), sign_in('d', 8), End('b')], limit: Some(2), exceptions: ONE_OVER;
        "S13": one() => [sign_in('b', 3)], limit: Some(1), kept: &['b'], exceptions: ONE_OVER;
        "S14": redis([('a', Live('u', 1))]) => [refresh('a', 9, Old), refresh('a', 1, Old), sign_in('c', 9)], mishap: Some(TICK);
        "S15": one() => [refresh('a', 9, Old), End('a')], mishap: Some(TOMBSTONE_EXPIRES);
        "S16": one() => [refresh('a', 9, Old), EndAll('u'), List('u')], mishap: Some(TOMBSTONE_EXPIRES);
        "S17": one() => [Put(Session('a', 'w', 9, Old)), EndAll('u')];
        "S17b": redis([('a', Live('w', 9))]) => [EndAll('u')], kept: &['a'];
        "S18": one() => [refresh('a', 9, Old), EndAll('u')], mishap: Some(INDEX_EVICTED), exceptions: NO_INDEX;
        "S18b": one() => [refresh('a', 9, Old), Revoke('u')], mishap: Some(INDEX_EVICTED), exceptions: NO_INDEX_BUT_MARKER;
        "S18c": one() => [sign_in('c', 9), Revoke('u')];
        "S19": legacy() => [Import('u'), EndAll('u'), refresh('a', 9, Old)];
        "S20": legacy() => [Import('u'), Import('u'), End('a')];
        "S21": one() => [EndAll('u'), EndAll('u'), sign_in('c', 9)];
        "S22": redis([('a', Tombstone), ('b', Live('u', 6))]) => [sign_in('c', 8)], limit: Some(2), at_least: 2;
        "S23": one() => [sign_in('c', 9), sign_in('d', 9), EndAll('u')];
        "S24": one() => [sign_in('c', 9), refresh('c', 9, Young), End('c')];
        "S25": one() => [sign_in('b', 9), sign_in('c', 10), EndAll('u')], limit: Some(1), exceptions: ONE_OVER;
        "S26": one() => [sign_in('b', 9), sign_in('c', 10), List('u')], limit: Some(1), at_least: 1, exceptions: ONE_OVER;
        "S27": two() => [sign_in('c', 7), sign_in('d', 8), refresh('a', 9, Old)], limit: Some(2), at_least: 2, exceptions: ONE_OVER;
        "S28": one() => [sign_in('c', 9), refresh('c', 9, Young), End('c')], mishap: Some(TOMBSTONE_EXPIRES), exceptions: TOO_EARLY;
        "S29": redis([('b', Live('u', 9))]) => [sign_in('a', 9)], limit: Some(1), kept: &['a'], exceptions: ONE_OVER;
        "S30": redis([('a', Live('u', 5)), ('b', Tombstone)]) => [sign_in('c', 8)], limit: Some(2), at_least: 2;
        "S32": one() => [sign_in('b', 9), sign_in('c', 9), sign_in('d', 9)], limit: Some(2), at_least: 2, exceptions: ONE_OVER;
        "S33": one() => [Put(Session('a', 'w', 9, Old)), Put(Session('b', 'w', 9, Young))], limit: Some(1), kept: &['a', 'b'];
        "S34": redis([]) => four(), limit: Some(2), kept: &['e'], at_least: 2, exceptions: ONE_OVER;
        "S35": redis([]) => four(), limit: Some(2), at_least: 2, is_late: true, exceptions: ONE_OVER;
        "S36": redis([]) => [Unheard(Session('b', 'u', 9, Young)), sign_in('c', 9)], limit: Some(1), at_least: 1, exceptions: ONE_OVER_UNHEARD;
        "S37": one() => [sign_in('b', 9)], limit: Some(1), kept: &['a'], at_least: 1, two_factor: &['b'], password_alone: &['b'], exceptions: ONE_OVER;
        "S38": one() => [sign_in('b', 9), sign_in('c', 9)], limit: Some(1), kept: &['c'], at_least: 1, two_factor: &['b', 'c'], password_alone: &['b'], exceptions: ONE_OVER;
        "S39": two() => [sign_in('c', 9), sign_in('d', 9)], limit: Some(2), at_least: 2, two_factor: &['c', 'd'], password_alone: &['d'], exceptions: ONE_OVER;
        "S40": two() => [sign_in('c', 9), sign_in('d', 9), sign_in('e', 9)], limit: Some(2), at_least: 2, two_factor: &['c', 'd', 'e'], password_alone: &['e'], exceptions: ONE_OVER;
        "S41": two() => [sign_in('c', 9), sign_in('d', 9)], limit: Some(2), kept: &['a', 'b'], at_least: 2, two_factor: &['c', 'd'], password_alone: &['c', 'd'], exceptions: ONE_OVER;
        "S42": one() => [sign_in('b', 9), EndAll('u')], limit: Some(1), two_factor: &['b'], exceptions: ONE_OVER;
        "S43": one() => [sign_in('b', 9)], limit: Some(1), kept: &['a', 'b'], impersonated: &['b'];
        "S44": two() => [sign_in('c', 9)], limit: Some(2), kept: &['a', 'b', 'c'], impersonated: &['a'];
        "S45": two() => [sign_in('c', 9), sign_in('d', 9)], limit: Some(2), kept: &['d'], impersonated: &['d'], exceptions: ONE_OVER;
        "S46": one() => [sign_in('c', 9), refresh('c', 9, Young), Take('c'), List('u')];
        "S47": one() => [refresh('a', 9, Old), Take('a'), End('a'), EndAll('u')];
    }
}

#[test]
fn the_rules_in_force_hold_in_every_scenario() {
    for scenario in scenarios() {
        let (name, broken) = (scenario.name, scenario.explore(None));
        for (how, trace) in &broken {
            let expected = scenario.exceptions.contains(how);
            assert!(expected, "{name}: {how:?}\n{trace}");
        }
        assert_eq!(broken.len(), scenario.exceptions.len(), "{name}");
    }
}

/// For each rule a scenario that breaks without it, and how. (`IndexFirst`: after a crash, and
/// without one.)
const NEEDED: &[(Rule, &str, Broken)] = &[
    (IndexFirst, "S4", Unindexed),
    (IndexFirst, "S5", Revived),
    (ScoresRise, "S14", Unindexed),
    (TombstoneRefuses, "S24", Revived),
    (OldIsNeverCreated, "S15", Revived),
    (OwnerNeverChanges, "S17", Revived),
    (LimitByCreator, "S10", TooFew),
    (LimitNeverItself, "S29", Lost),
    (LimitInFixedOrder, "S27", TooFew),
    (LimitDropsTombstoned, "S30", TooFew),
    (LimitCountsAbsent, "S9", OverLimit),
    (LimitClaimsAbsent, "S34", TooFew),
    (LimitWaits, "S34", Lost),
    (LimitEntersOnce, "S36", TooFew),
    (LimitSparesOthers, "S33", Lost),
    (LimitUnindexesLast, "S9", OverLimitForGood),
    (LimitDefers, "S37", Lost),
    (LimitDefersForLive, "S41", Lost),
    (LimitSparesImpersonated, "S43", Lost),
    (LimitSparesImpersonated, "S44", Lost),
    (AbsentIsEnded, "S24", Revived),
    (MarkerFirst, "S18b", Revived),
    (LegacyReadFirst, "S19", Revived),
    (EndAllSparesOthers, "S17b", Lost),
    (EndAllUnindexesEnded, "S5", Unindexed),
    (ListSparesAbsent, "S4", Unindexed),
];

#[test]
fn each_rule_is_needed() {
    let scenarios = scenarios();
    for (rule, name, how) in NEEDED {
        let named = |it: &&Scenario| it.name == *name;
        let scenario = scenarios.iter().find(named).expect(name);
        assert!(!scenario.exceptions.contains(how), "{name} with {rule:?}");
        let broken = scenario.explore(Some(*rule));
        assert!(broken.contains_key(how), "{name} without {rule:?}");
    }
}
