//! The near cache, checked by exhaustive interleaving. A model of `src/near_cache.rs` and of what feeds
//! it, not the product: one key whose value is the number of its version, one process that reads
//! and writes it over one connection at a time, others that write it, and a server that carries out
//! what a connection brings in its order, and tells of changes among its answers.
//!
//! [`Rule`] lists the rules. What must hold ([`Broken`] names the failures):
//! 1. When nothing is under way, the cache holds what the server holds, or nothing.
//! 2. Who begins to read after this process was told of a version, as a writer or as a reader, is
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
    WriteTakesValue,       // a write of ours takes the value away before its caller is told
    WriteTakesFlight,      // ... and the flight
    LossTakesValue,        // when a connection is lost, the value goes
    LossTakesFlight,       // ... and the flight
    LossByNumber,          // who finds a connection lost of which that is known takes nothing away
    HitsNeedASign,         // a value is answered only within the bound of the last sign of life
    SignsCountFromSending, // a sign of life is as old as its question
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

type Time = u8;
type Version = u8;
/// A getter, and the flight that it leads.
type Reader = usize;
/// A connection, and the feed that it is.
type Link = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Request {
    Get(Reader),
    Set,
    Beat(Time), // when it was sent
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Changed,
    Answer(Request, Version),
}

/// A connection, with what waits at either end to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Wire {
    requests: Vec<Request>,
    messages: Vec<Message>,
    /// Whether the server will tell of the next change.
    tracked: bool,
    /// Whether the client reads no more. What it sent is carried out later, or never.
    broken: bool,
}

/// A flight is its leader's number: nobody leads two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Cache {
    feed: Option<Link>,
    value: Option<Version>,
    flight: Option<Reader>,
    /// When the last sign of life was sent.
    alive: Option<Time>,
}

/// What runs in the process: a getter, the writer, the heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Task {
    Begins,
    Waits, // for a connection
    Asked(Link),
    Told(Link, u8), // the answer was handed to it, and it goes on later
    Joined(Reader),
    #[default]
    Done,
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    SomebodyWrites,
    TimePasses,
    Serves(Link), // the server: the next request
    Hears(Link),  // the client: the next message
    AppliesLate,  // the client: a change that it read before
    GivesUp,      // the client: uses connection 0 no more, and still hears it
    Breaks,       // the client: hears no more of connection 0
    Connects,     // the client: connection 1
    Gets(Reader),
    Writes,
    Beats,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    version: Version,
    /// When each version was followed by the next.
    followed: Vec<Time>,
    now: Time,
    wires: [Wire; 2],
    /// The connection in use.
    link: Option<Link>,
    cache: Cache,
    /// Each with the version that the process knew of when it began.
    getters: Vec<(Task, Version)>,
    writer: Task,
    beat: Task,
    /// The latest version that anyone in the process was told of.
    known: Version,
    /// Changes that were read and are still to be applied.
    late: u8,
    /// What is still to come: writes of others, and time.
    foreign: u8,
    ticks: u8,
    broken: Option<Broken>,
}

impl State {
    /// `None`: it cannot happen now.
    fn take(&mut self, step: Step, rules: Rules) -> Option<()> {
        match step {
            SomebodyWrites => {
                self.foreign = self.foreign.checked_sub(1)?;
                self.change();
            }
            TimePasses => {
                self.ticks = self.ticks.checked_sub(1)?;
                self.now += 1;
            }
            Serves(link) => {
                let request = next(&mut self.wires[link].requests)?;
                // A writer that is told of its own change is told behind the answer.
                let version = self.version + u8::from(request == Request::Set);
                self.wires[link].messages.push(Message::Answer(request, version));
                match request {
                    Request::Get(_) => self.wires[link].tracked = true,
                    Request::Set => self.change(),
                    Request::Beat(_) => {}
                }
            }
            Hears(link) if self.wires[link].broken => return None,
            Hears(link) => match next(&mut self.wires[link].messages)? {
                Message::Changed if rules.has(ChangesInOrder) => self.changed(rules),
                Message::Changed => self.late += 1,
                Message::Answer(Request::Get(reader), version) => {
                    self.getters[reader].0 = Told(link, version)
                }
                Message::Answer(Request::Set, version) => self.writer = Told(link, version),
                Message::Answer(Request::Beat(sent), _) => self.beat = Told(link, sent),
            },
            AppliesLate => {
                self.late = self.late.checked_sub(1)?;
                self.changed(rules);
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

    fn change(&mut self) {
        self.version += 1;
        self.followed.push(self.now);
        for wire in self.wires.iter_mut().filter(|wire| wire.tracked) {
            wire.tracked = false;
            wire.messages.push(Message::Changed);
        }
    }

    // ---- The connections ----

    /// Whoever waits for an answer asks again on the next connection.
    fn breaks(&mut self, link: Link, rules: Rules) {
        self.wires[link].broken = true;
        let getters = self.getters.iter_mut().map(|getter| &mut getter.0);
        for task in getters.chain([&mut self.writer, &mut self.beat]) {
            if *task == Asked(link) {
                *task = Waits;
            }
        }
        self.lost(link, rules);
    }

    fn lost(&mut self, link: Link, rules: Rules) {
        self.link.take_if(|it| *it == link);
        if self.cache.feed == Some(link) || !rules.has(LossByNumber) {
            self.cache.take_away(rules.has(LossTakesValue), rules.has(LossTakesFlight));
            (self.cache.feed, self.cache.alive) = (None, None);
        }
    }

    fn connects(&mut self, link: Link, rules: Rules) {
        self.cache.take_away(rules.has(LossTakesValue), rules.has(LossTakesFlight));
        (self.cache.feed, self.cache.alive) = (Some(link), Some(self.now));
        self.link = Some(link);
    }

    fn changed(&mut self, rules: Rules) {
        self.cache.take_away(rules.has(ChangeTakesValue), rules.has(ChangeTakesFlight));
    }

    // ---- The tasks ----

    fn get(&mut self, reader: Reader, rules: Rules) -> Option<()> {
        match self.getters[reader].0 {
            Begins => {
                self.getters[reader].1 = self.known;
                self.getters[reader].0 = match (self.hit(rules), self.cache.flight) {
                    (Some(version), _) => return self.answer(reader, version),
                    (None, _) if self.cache.feed.is_none() => Waits,
                    (None, Some(leader)) => Joined(leader),
                    (None, None) => {
                        self.cache.flight = Some(reader);
                        Waits
                    }
                };
            }
            Waits => self.getters[reader].0 = self.ask(Request::Get(reader))?,
            Told(_, version) => {
                self.cache.land(reader, version, rules);
                for other in 0..self.getters.len() {
                    if other == reader || self.getters[other].0 == Joined(reader) {
                        self.answer(other, version);
                    }
                }
            }
            Asked(_) | Joined(_) | Done => return None,
        }
        Some(())
    }

    fn hit(&mut self, rules: Rules) -> Option<Version> {
        let lives = self.cache.alive.is_some_and(|sent| self.now - sent <= BOUND);
        let version = self.cache.value.filter(|_| lives || !rules.has(HitsNeedASign))?;
        let followed = self.followed.get(usize::from(version));
        self.broken = followed.is_some_and(|at| self.now - at > BOUND).then_some(TooOld);
        Some(version)
    }

    fn answer(&mut self, reader: Reader, version: Version) -> Option<()> {
        let (_, known) = std::mem::take(&mut self.getters[reader]);
        self.broken = self.broken.or((version < known).then_some(WentBack));
        self.known = self.known.max(version);
        Some(())
    }

    fn write(&mut self, rules: Rules) -> Option<()> {
        let mut evict =
            || self.cache.take_away(rules.has(WriteTakesValue), rules.has(WriteTakesFlight));
        match self.writer {
            Begins => {
                evict();
                self.writer = Waits;
            }
            Waits => self.writer = self.ask(Request::Set)?,
            Told(_, version) => {
                evict();
                (self.writer, self.known) = (Done, self.known.max(version));
            }
            Asked(_) | Joined(_) | Done => return None,
        }
        Some(())
    }

    fn beat(&mut self, rules: Rules) -> Option<()> {
        match self.beat {
            Waits => self.beat = self.ask(Request::Beat(self.now))?,
            Told(link, sent) => {
                let alive = if rules.has(SignsCountFromSending) { sent } else { self.now };
                self.cache.alive =
                    if self.cache.feed == Some(link) { Some(alive) } else { self.cache.alive };
                self.beat = Waits;
            }
            Begins | Asked(_) | Joined(_) | Done => return None,
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
        let done = self.getters.iter().all(|getter| getter.0 == Done) && self.writer == Done;
        let quiet = done && self.wires.iter().all(idle) && self.late == 0;
        let stale = self.cache.value.is_some_and(|value| value != self.version);
        let off = self.link.is_some() && self.cache.feed != self.link;
        self.broken.or((quiet && stale).then_some(Stale)).or(off.then_some(OffInVain))
    }
}

impl Cache {
    fn take_away(&mut self, value: bool, flight: bool) {
        self.value.take_if(|_| value);
        self.flight.take_if(|_| flight);
    }

    /// Who read without a feed has no flight, and keeps nothing.
    fn land(&mut self, reader: Reader, version: Version, rules: Rules) {
        let may = match self.flight {
            Some(flight) => flight == reader || !rules.has(LandsByIdentity),
            None => !rules.has(LandsUnderWay),
        };
        if may {
            (self.flight, self.value) = (None, Some(version));
        }
    }
}

fn next<T>(queue: &mut Vec<T>) -> Option<T> {
    (!queue.is_empty()).then(|| queue.remove(0))
}

#[derive(Default)]
struct Scenario {
    name: &'static str,
    getters: usize,
    writes: bool, // the process itself, once
    foreign: u8,  // how often others do
    kept: bool,   // the value lies in the cache at the start
    ticks: u8,    // how long time goes on, with a heartbeat
    loss: bool,   // connection 0 is lost, and 1 takes its place
}

impl Scenario {
    fn start(&self) -> State {
        let &Scenario { foreign, ticks, .. } = self;
        let getters = vec![(Begins, 0); self.getters];
        let mut start = State { getters, foreign, ticks, ..State::default() };
        start.connects(0, Rules(None));
        start.writer = if self.writes { Begins } else { Done };
        start.beat = if ticks > 0 { Waits } else { Done };
        start.wires[0].tracked = self.kept;
        start.cache.value = self.kept.then_some(0);
        start
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps =
            vec![SomebodyWrites, TimePasses, Serves(0), Hears(0), AppliesLate, Writes, Beats];
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
        "{before}  {step:?}\n      now {now}, version {version}, {cache:?}, getters {getters:?}\n"
    )
}

fn scenarios() -> [Scenario; 8] {
    [
        Scenario { name: "C1", getters: 3, foreign: 2, ..Scenario::default() },
        Scenario { name: "C2", getters: 2, foreign: 1, writes: true, ..Scenario::default() },
        Scenario {
            name: "C3",
            getters: 2,
            foreign: 1,
            writes: true,
            kept: true,
            ..Scenario::default()
        },
        Scenario { name: "C4", getters: 2, foreign: 1, loss: true, ..Scenario::default() },
        Scenario {
            name: "C5",
            getters: 1,
            foreign: 1,
            kept: true,
            loss: true,
            ..Scenario::default()
        },
        Scenario { name: "C6", getters: 2, writes: true, loss: true, ..Scenario::default() },
        Scenario {
            name: "C7",
            getters: 1,
            foreign: 1,
            kept: true,
            ticks: 3,
            ..Scenario::default()
        },
        Scenario {
            name: "C8",
            getters: 1,
            foreign: 1,
            kept: true,
            ticks: 2,
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
