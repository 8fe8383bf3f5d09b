//! The near cache, checked by exhaustive interleaving. A model of `src/near_cache.rs` and
//! of what feeds it, not the product: keys whose values are the numbers of their versions, one
//! process that reads and writes them over one connection at a time, others that write them, and a
//! server that carries out what a connection brings in its order, and tells of changes among its
//! answers. Where there are two keys, the first is a session and the second its owner's not-before
//! marker: a read of the session reads both.
//!
//! [`Rule`] lists the rules. What must hold ([`Broken`] names the failures):
//! 1. When nothing is under way, the cache holds what the server holds, or nothing, of each key.
//! 2. A reader that begins after this process got a version, as a writer or as a reader, is
//!    answered with none before it.
//! 3. A version that the cache answers was the server's at most [`BOUND`] ago, however long the
//!    connection is frozen.
//! 4. A connection that is in use feeds the cache.
//!
//! Change a rule here first: a failure prints the shortest trace. Two things that the code does are
//! modelled and are no rules, for nothing breaks without them: a write takes away before it is sent
//! as well, and a connection that begins empties what its loss has emptied. Not modelled: how long
//! a value lives by itself, leaders that give up and JavaScript's copies (`near_cache_loom.rs`), a
//! server that does not tell.

use std::collections::{BTreeMap, HashSet};

use Broken::*;
use Rule::*;
use Step::*;
use Task::*;

/// The rules in force. What is done without one stands where the code asks for it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    LandsUnderWay,         // an answer is kept only while a flight is under way
    LandsByIdentity,       // ... and only if that flight is the very one that it answers
    ChangeTakesValue,      // a change that the server tells of takes the value away
    ChangeTakesFlight,     // ... and the flight
    ChangesInOrder,        // ... before the answers behind it are handed on
    WriteTakesValue,       // a write of ours takes the value away before its caller gets the answer
    WriteTakesFlight,      // ... and the flight
    LossTakesValue,        // when a connection is lost, the value goes
    LossTakesFlight,       // ... and the flight
    LossByNumber,          // who finds a connection lost of which that is known takes nothing away
    HitsNeedASign,         // a value is answered only within the bound of the last sign of life
    SignsCountFromSending, // a sign of life is as old as its question
    HitsNeedTheMarker,     // a session is answered only beside its owner's marker
    KeysByName,            // what takes a key away takes that one, and no other
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Broken {
    Stale,
    WentBack,
    TooOld,
    OffInVain, // the cache, while there is a connection
}

/// All but one, or all.
#[derive(Clone, Copy)]
struct Rules(Option<Rule>);

impl Rules {
    fn has(self, rule: Rule) -> bool {
        self.0 != Some(rule)
    }
}

/// How old a hit may be.
const BOUND: Time = 1;

/// How many keys there are at most.
const KEYS: usize = 2;
const SESSION: Key = 0;
const MARKER: Key = 1;

type Key = usize;
type Time = u8;
type Version = u8;
/// Of each key.
type Versions = [Version; KEYS];
/// A getter, and the flight that it leads.
type Reader = usize;
/// A connection, and the feed that it is.
type Link = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Request {
    Get(Reader, [bool; KEYS]), // which of the keys
    Set(Key),
    Beat(Time), // when it was sent
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Changed(Key),
    Answer(Request, Versions),
}

/// A connection, with what waits at either end to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Wire {
    requests: Vec<Request>,
    messages: Vec<Message>,
    /// Whether the server will tell of the next change, of each key.
    tracked: [bool; KEYS],
    /// Whether the client reads no more. What it sent is carried out later, or never.
    broken: bool,
}

/// A flight is its leader's number: no reader leads two of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Cache {
    feed: Option<Link>,
    value: [Option<Version>; KEYS],
    flight: [Option<Reader>; KEYS],
    /// When the last sign of life was sent.
    alive: Option<Time>,
}

/// What runs in the process: a getter, the writer, the heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Task {
    Begins,
    Waits, // for a connection
    Asked(Link),
    Told(Link, Versions), // the answer was handed to it, and it goes on later
    Heard(Link, Time),    // the same, of the heartbeat's question of then
    Joined,               // for flights of others
    #[default]
    Done,
}

/// A reader of all keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Getter {
    task: Task,
    /// What the process knew of when it began.
    known: Versions,
    /// What it has been answered so far.
    read: [Option<Version>; KEYS],
    /// Whose flights it waits for.
    joined: [Option<Reader>; KEYS],
}

impl Getter {
    /// What it has to ask for by itself.
    fn asks(&self, keys: usize) -> [bool; KEYS] {
        std::array::from_fn(|key| {
            key < keys && self.read[key].is_none() && self.joined[key].is_none()
        })
    }
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    SomebodyWrites(Key),
    TimePasses,
    Serves(Link), // the server: the next request
    Hears(Link),  // the client: the next message
    AppliesLate,  // the client: the first change that it read before
    GivesUp,      // the client: uses connection 0 no more, and still receives its pushes
    Breaks,       // the client: receives nothing more from connection 0
    Connects,     // the client: connection 1
    Gets(Reader),
    Writes,
    Beats,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// How many keys there are.
    keys: usize,
    version: Versions,
    /// When each version was followed by the next, of each key.
    followed: [Vec<Time>; KEYS],
    now: Time,
    wires: [Wire; 2],
    /// The connection in use.
    link: Option<Link>,
    cache: Cache,
    getters: Vec<Getter>,
    /// And which key it writes.
    writer: (Task, Key),
    beat: Task,
    /// The latest versions that any caller in the process got.
    known: Versions,
    /// Changes that were read and are still to be applied.
    late: Vec<Key>,
    /// What is still to come: writes of others, and time.
    foreign: [u8; KEYS],
    ticks: u8,
    broken: Option<Broken>,
}

impl State {
    /// `None`: it cannot happen now.
    fn take(&mut self, step: Step, rules: Rules) -> Option<()> {
        match step {
            SomebodyWrites(key) => {
                self.foreign[key] = self.foreign[key].checked_sub(1)?;
                self.change(key);
            }
            TimePasses => {
                self.ticks = self.ticks.checked_sub(1)?;
                self.now += 1;
            }
            Serves(link) => {
                let request = next(&mut self.wires[link].requests)?;
                // A writer gets the push of its own change behind the answer.
                let mut versions = self.version;
                if let Request::Set(key) = request {
                    versions[key] += 1;
                }
                self.wires[link].messages.push(Message::Answer(request, versions));
                match request {
                    Request::Get(_, asked) => {
                        let tracked = &mut self.wires[link].tracked;
                        (0..KEYS).for_each(|key| tracked[key] |= asked[key]);
                    }
                    Request::Set(key) => self.change(key),
                    Request::Beat(_) => {}
                }
            }
            Hears(link) if self.wires[link].broken => return None,
            Hears(link) => match next(&mut self.wires[link].messages)? {
                Message::Changed(key) if rules.has(ChangesInOrder) => self.changed(key, rules),
                Message::Changed(key) => self.late.push(key),
                Message::Answer(Request::Get(reader, _), versions) => {
                    self.getters[reader].task = Told(link, versions)
                }
                Message::Answer(Request::Set(_), versions) => self.writer.0 = Told(link, versions),
                Message::Answer(Request::Beat(sent), _) => self.beat = Heard(link, sent),
            },
            AppliesLate => {
                let key = next(&mut self.late)?;
                self.changed(key, rules);
            }
            GivesUp => (self.link? == 0).then(|| self.lost(0, rules))?,
            Breaks => (!self.wires[0].broken).then(|| self.breaks(0, rules))?,
            Connects => self.link.is_none().then(|| self.connects(1, rules))?,
            Gets(reader) => return self.get(reader, rules),
            Writes => return self.write(rules),
            Beats => return self.beat(rules),
        }
        Some(())
    }

    fn change(&mut self, key: Key) {
        self.version[key] += 1;
        self.followed[key].push(self.now);
        for wire in self.wires.iter_mut().filter(|wire| wire.tracked[key]) {
            wire.tracked[key] = false;
            wire.messages.push(Message::Changed(key));
        }
    }

    // ---- The connections ----

    /// Whoever waits for an answer asks again on the next connection.
    fn breaks(&mut self, link: Link, rules: Rules) {
        self.wires[link].broken = true;
        let getters = self.getters.iter_mut().map(|getter| &mut getter.task);
        for task in getters.chain([&mut self.writer.0, &mut self.beat]) {
            if *task == Asked(link) {
                *task = Waits;
            }
        }
        self.lost(link, rules);
    }

    fn lost(&mut self, link: Link, rules: Rules) {
        self.link.take_if(|it| *it == link);
        if self.cache.feed == Some(link) || !rules.has(LossByNumber) {
            self.cache.take_all(rules.has(LossTakesValue), rules.has(LossTakesFlight));
            (self.cache.feed, self.cache.alive) = (None, None);
        }
    }

    fn connects(&mut self, link: Link, rules: Rules) {
        self.cache.take_all(rules.has(LossTakesValue), rules.has(LossTakesFlight));
        (self.cache.feed, self.cache.alive) = (Some(link), Some(self.now));
        self.link = Some(link);
    }

    fn changed(&mut self, key: Key, rules: Rules) {
        let key = if rules.has(KeysByName) { key } else { SESSION };
        self.cache.take_away(key, rules.has(ChangeTakesValue), rules.has(ChangeTakesFlight));
    }

    // ---- The tasks ----

    fn get(&mut self, reader: Reader, rules: Rules) -> Option<()> {
        match self.getters[reader].task {
            Begins => {
                let mut getter = Getter { known: self.known, ..Getter::default() };
                for key in 0..self.keys {
                    getter.read[key] = self.hit(key, rules);
                    if getter.read[key].is_none() && self.cache.feed.is_some() {
                        getter.joined[key] = self.cache.flight[key];
                        self.cache.flight[key].get_or_insert(reader);
                    }
                }
                let asks = getter.asks(self.keys).contains(&true);
                getter.task = if asks { Waits } else { Joined };
                self.getters[reader] = getter;
                self.ends(reader);
            }
            Waits => {
                let asked = self.getters[reader].asks(self.keys);
                self.getters[reader].task = self.ask(Request::Get(reader, asked))?;
            }
            Told(_, versions) => {
                let asked = self.getters[reader].asks(self.keys);
                for key in (0..self.keys).filter(|key| asked[*key]) {
                    self.cache.land(key, reader, versions[key], rules);
                    self.getters[reader].read[key] = Some(versions[key]);
                    for getter in &mut self.getters {
                        if getter.joined[key].take_if(|leader| *leader == reader).is_some() {
                            getter.read[key] = Some(versions[key]);
                        }
                    }
                }
                self.getters[reader].task = Joined;
                (0..self.getters.len()).for_each(|reader| self.ends(reader));
            }
            Asked(_) | Joined | Heard(..) | Done => return None,
        }
        Some(())
    }

    /// What is answered without asking.
    fn hit(&mut self, key: Key, rules: Rules) -> Option<Version> {
        let lives = self.cache.alive.is_some_and(|sent| self.now - sent <= BOUND);
        let [value, marker] =
            self.cache.value.map(|value| value.filter(|_| lives || !rules.has(HitsNeedASign)));
        let version = match key {
            SESSION if self.keys == 1 || marker.is_some() => value?,
            SESSION if rules.has(HitsNeedTheMarker) => return None,
            SESSION => value?,
            // As if the owner had none.
            _ if !rules.has(HitsNeedTheMarker) && value.is_some() => marker.unwrap_or_default(),
            _ => marker?,
        };
        let followed = self.followed[key].get(usize::from(version));
        let is_old = followed.is_some_and(|at| self.now - at > BOUND);
        self.broken = self.broken.or(is_old.then_some(TooOld));
        Some(version)
    }

    /// A getter is answered once it waits for nothing more.
    fn ends(&mut self, reader: Reader) {
        let Getter { task: Joined, known, read, .. } = self.getters[reader] else { return };
        if read[..self.keys].contains(&None) {
            return;
        }
        self.getters[reader] = Getter::default();
        for key in 0..self.keys {
            let version = read[key].unwrap_or_default();
            self.broken = self.broken.or((version < known[key]).then_some(WentBack));
            self.known[key] = self.known[key].max(version);
        }
    }

    fn write(&mut self, rules: Rules) -> Option<()> {
        let (task, key) = self.writer;
        let mut evict =
            || self.cache.take_away(key, rules.has(WriteTakesValue), rules.has(WriteTakesFlight));
        self.writer.0 = match task {
            Begins => {
                evict();
                Waits
            }
            Waits => self.ask(Request::Set(key))?,
            Told(_, versions) => {
                evict();
                self.known[key] = self.known[key].max(versions[key]);
                Done
            }
            Asked(_) | Joined | Heard(..) | Done => return None,
        };
        Some(())
    }

    fn beat(&mut self, rules: Rules) -> Option<()> {
        match self.beat {
            Waits => self.beat = self.ask(Request::Beat(self.now))?,
            Heard(link, sent) => {
                let alive = if rules.has(SignsCountFromSending) { sent } else { self.now };
                self.cache.alive =
                    if self.cache.feed == Some(link) { Some(alive) } else { self.cache.alive };
                self.beat = Waits;
            }
            Begins | Asked(_) | Told(..) | Joined | Done => return None,
        }
        Some(())
    }

    fn ask(&mut self, request: Request) -> Option<Task> {
        self.wires[self.link?].requests.push(request);
        self.link.map(Asked)
    }

    fn broken(&self) -> Option<Broken> {
        let idle =
            |wire: &Wire| wire.broken || (wire.requests.is_empty() && wire.messages.is_empty());
        let done = self.getters.iter().all(|getter| getter.task == Done) && self.writer.0 == Done;
        let quiet = done && self.wires.iter().all(idle) && self.late.is_empty();
        let stale = (0..KEYS)
            .any(|key| self.cache.value[key].is_some_and(|value| value != self.version[key]));
        let off = self.link.is_some() && self.cache.feed != self.link;
        self.broken.or((quiet && stale).then_some(Stale)).or(off.then_some(OffInVain))
    }
}

impl Cache {
    fn take_all(&mut self, value: bool, flight: bool) {
        (0..KEYS).for_each(|key| self.take_away(key, value, flight));
    }

    fn take_away(&mut self, key: Key, value: bool, flight: bool) {
        self.value[key].take_if(|_| value);
        self.flight[key].take_if(|_| flight);
    }

    /// Who read without a feed has no flight, and keeps nothing.
    fn land(&mut self, key: Key, reader: Reader, version: Version, rules: Rules) {
        let may = match self.flight[key] {
            Some(flight) => flight == reader || !rules.has(LandsByIdentity),
            None => !rules.has(LandsUnderWay),
        };
        if may {
            (self.flight[key], self.value[key]) = (None, Some(version));
        }
    }
}

fn next<T>(queue: &mut Vec<T>) -> Option<T> {
    (!queue.is_empty()).then(|| queue.remove(0))
}

#[derive(Default)]
struct Scenario {
    name: &'static str,
    has_marker: bool, // there are two keys
    getters: usize,
    writes: Option<Key>, // the process itself, once
    foreign: [u8; KEYS], // how often others do
    kept: bool,          // the values lie in the cache at the start
    ticks: u8,           // how long time goes on, with a heartbeat
    loss: bool,          // connection 0 is lost, and 1 takes its place
}

impl Scenario {
    fn start(&self) -> State {
        let &Scenario { foreign, ticks, .. } = self;
        let keys = if self.has_marker { KEYS } else { 1 };
        let getters = vec![Getter { task: Begins, ..Getter::default() }; self.getters];
        let mut start = State { keys, getters, foreign, ticks, ..State::default() };
        start.connects(0, Rules(None));
        start.writer = self.writes.map_or((Done, SESSION), |key| (Begins, key));
        start.beat = if ticks > 0 { Waits } else { Done };
        for key in (0..keys).filter(|_| self.kept) {
            start.wires[0].tracked[key] = true;
            start.cache.value[key] = Some(0);
        }
        start
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![TimePasses, Serves(0), Hears(0), AppliesLate, Writes, Beats];
        steps.extend((0..KEYS).map(SomebodyWrites));
        steps.extend((0..self.getters).map(Gets));
        if self.loss {
            steps.extend([GivesUp, Breaks, Connects, Serves(1), Hears(1)]);
        }
        steps
    }

    /// Each way in which it breaks, with the shortest trace that leads there.
    fn explore(&self, left_out: Option<Rule>) -> BTreeMap<Broken, String> {
        let (rules, steps) = (Rules(left_out), self.steps());
        let mut seen = HashSet::from([self.start()]);
        let mut visits = vec![(self.start(), 0, None)];
        let mut found = BTreeMap::new();
        let mut at = 0;
        while at < visits.len() {
            if let Some(broken) = visits[at].0.broken() {
                found.entry(broken).or_insert_with(|| trace(&visits, at));
            } else {
                for step in &steps {
                    let mut state = visits[at].0.clone();
                    if state.take(*step, rules).is_some() && seen.insert(state.clone()) {
                        visits.push((state, at, Some(*step)));
                    }
                }
            }
            at += 1;
        }
        found
    }
}

fn trace(visits: &[(State, usize, Option<Step>)], at: usize) -> String {
    let (State { now, version, cache, getters, .. }, from, step) = &visits[at];
    let Some(step) = step else { return String::new() };
    let before = trace(visits, *from);
    format!(
        "{before}  {step:?}\n      now {now}, version {version:?}, {cache:?}, getters {getters:?}\n"
    )
}

fn scenarios() -> [Scenario; 11] {
    [
        Scenario { name: "C1", getters: 3, foreign: [2, 0], ..Scenario::default() },
        Scenario {
            name: "C2",
            getters: 2,
            foreign: [1, 0],
            writes: Some(SESSION),
            ..Scenario::default()
        },
        Scenario {
            name: "C3",
            getters: 2,
            foreign: [1, 0],
            writes: Some(SESSION),
            kept: true,
            ..Scenario::default()
        },
        Scenario { name: "C4", getters: 2, foreign: [1, 0], loss: true, ..Scenario::default() },
        Scenario {
            name: "C5",
            getters: 1,
            foreign: [1, 0],
            kept: true,
            loss: true,
            ..Scenario::default()
        },
        Scenario {
            name: "C6",
            getters: 2,
            writes: Some(SESSION),
            loss: true,
            ..Scenario::default()
        },
        Scenario {
            name: "C7",
            getters: 1,
            foreign: [1, 0],
            kept: true,
            ticks: 3,
            ..Scenario::default()
        },
        Scenario {
            name: "C8",
            getters: 1,
            foreign: [1, 0],
            kept: true,
            ticks: 2,
            loss: true,
            ..Scenario::default()
        },
        Scenario {
            name: "M1",
            has_marker: true,
            getters: 2,
            foreign: [1, 1],
            kept: true,
            ..Scenario::default()
        },
        Scenario {
            name: "M2",
            has_marker: true,
            getters: 2,
            foreign: [0, 1],
            writes: Some(MARKER),
            kept: true,
            ..Scenario::default()
        },
        Scenario {
            name: "M3",
            has_marker: true,
            getters: 2,
            foreign: [0, 1],
            loss: true,
            ..Scenario::default()
        },
    ]
}

#[test]
fn the_rules_in_force_hold_in_every_scenario() {
    for scenario in scenarios() {
        if let Some((how, trace)) = scenario.explore(None).pop_first() {
            panic!("{}: {how:?}\n{trace}", scenario.name);
        }
    }
}

/// For each rule a scenario that breaks without it, and how.
const NEEDED: &[(Rule, &str, Broken)] = &[
    (LandsUnderWay, "C1", Stale),
    (LandsUnderWay, "C2", WentBack),
    (LandsByIdentity, "C1", Stale),
    (ChangeTakesValue, "C1", Stale),
    (ChangeTakesFlight, "C1", Stale),
    (ChangesInOrder, "C7", TooOld),
    (WriteTakesValue, "C3", WentBack),
    (WriteTakesFlight, "C2", WentBack),
    (LossTakesValue, "C5", Stale),
    (LossTakesFlight, "C4", Stale),
    (LossByNumber, "C5", OffInVain),
    (HitsNeedASign, "C7", TooOld),
    (SignsCountFromSending, "C7", TooOld),
    (HitsNeedTheMarker, "M2", WentBack),
    (KeysByName, "M1", Stale),
    (ChangeTakesFlight, "M1", Stale),
    (WriteTakesValue, "M2", WentBack),
    (LossTakesFlight, "M3", Stale),
];

#[test]
fn each_rule_is_needed() {
    let scenarios = scenarios();
    for (rule, name, how) in NEEDED {
        let scenario = scenarios.iter().find(|it| it.name == *name).expect(name);
        let broken = scenario.explore(Some(*rule));
        assert!(broken.contains_key(how), "{name} without {rule:?}");
    }
}
