//! The user half of a session's record, checked by exhaustive interleaving. A model, not the
//! product: a process is a chain of atomic steps, each on the user's row in the database or on the
//! records. Every order of the steps is tried.
//!
//! The user half is a copy of the row. `updateUser` stamps `updatedAt`, runs its statement and gets
//! the whole row back. It then reads each of the user's records (its base) and writes the row into
//! it, merged with what is stored by then. A sign-in reads the row, then creates a record from it.
//! Both may write a row that is no longer the newest.
//!
//! The process that wrote therefore looks: it reads the records, then the row, and installs the row
//! by compare-and-set into each record that differs. [`Rule`] lists the rules of the look. What
//! must hold:
//! 1. Once nothing is in flight, every record equals the row, stamp included.
//! 2. A look at once does not install an old row that a replica still serves
//!    ([`Scenario::at_once`]).
//!
//! Change a rule here first: a failure prints the shortest trace. Two things that a look does are
//! no rules, because the records end like the row without them. A look whose compare failed runs
//! again: the process that changed the record looks as well. The install compares: a look that
//! installed a row runs again anyway. A blind install could still overwrite the session half, or
//! revive an ended session.
//!
//! The 5 s of a second look count from the end of the look at once, not from the write: a look at
//! once may still be installing an old row. A second look that serves several writes counts from
//! the last of them.
//!
//! Simplified: a look reads all records in one step, because no rule compares two of them. A writer
//! looks once, after its last record. Not modelled: a crash between a write and its look, a
//! database that does not answer, a row that was written to a record and then rolled back.

use std::collections::HashSet;
use std::fmt::{self, Debug, Formatter};
use std::hash::{BuildHasherDefault, Hasher};

use Change::*;
use Look::*;
use Merge::*;
use Part::*;
use Reads::*;
use Rule::*;
use Step::*;

/// The rules in force. What is done without one stands where the code asks for it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    WriterLooks,      // a write that changed a user half is followed by a look
    CreatorLooks,     // a sign-in that created a record is followed by a look
    LooksAgain,       // a look that installed a row runs again
    AtOnceNeverOlder, // the look at once installs no row whose stamp is older than the record's
    LooksLater, // 5 s after the end of the look at once, a second look installs the row as it is
    LaterAgainLater, // a second look that installed a row runs again 5 s later, not at once
    DroppedLooks, // a write that left a record unlike its row is followed by a look, changed or not
}

/// The rules that are needed only if a second look may read an old row, or if the base of a write
/// is unknown.
const BEYOND_ASSUMPTIONS: &[Rule] = &[LaterAgainLater, DroppedLooks];
/// Those, and the rules that are needed only if a look at once may read an old row.
const FOR_REPLICAS: &[Rule] = &[AtOnceNeverOlder, LooksLater, LaterAgainLater, DroppedLooks];

/// How a write is put together with a record that no longer equals its base.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Merge {
    LastWrite,  // the rule for a write whose base is unknown
    NewerStamp, // not in force
    ThreeWay,   // the rule for a write whose base is certain
}

/// Which versions of the row a look or a sign-in may read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reads {
    Newest,        // the primary's
    AnyUntilQuiet, // any; the second looks run when all requests are over, and read the newest
    AnyOfLast5s,   // any of the last 5 s; the second looks run while others write
}

/// The user's row, or a record's copy of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Row {
    is_admin: bool,
    is_renamed: bool,
    stamp: u8, // `updatedAt`, from the writer's clock
}

const START: Row = Row { is_admin: true, is_renamed: false, stamp: 1 };

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Change {
    RoleRemoved,
    RoleGivenBack,
    Renamed,
}

/// Short, for the traces.
impl Debug for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let role = if self.is_admin { "admin" } else { "user" };
        let name = if self.is_renamed { "new" } else { "old" };
        write!(f, "{role}/{name}@{}", self.stamp)
    }
}

impl Row {
    fn changed(mut self, change: Change, stamp: u8) -> Row {
        match change {
            RoleRemoved => self.is_admin = false,
            RoleGivenBack => self.is_admin = true,
            Renamed => self.is_renamed = true,
        }
        Row { stamp, ..self }
    }
}

impl Merge {
    fn merged(self, base: Row, stored: Row, written: Row) -> Row {
        let chosen = |base, stored, written| if written == base { stored } else { written };
        match self {
            LastWrite => written,
            NewerStamp if written.stamp < stored.stamp => stored,
            NewerStamp => written,
            ThreeWay if stored == base => written,
            ThreeWay => Row {
                is_admin: chosen(base.is_admin, stored.is_admin, written.is_admin),
                is_renamed: chosen(base.is_renamed, stored.is_renamed, written.is_renamed),
                stamp: stored.stamp.max(written.stamp),
            },
        }
    }
}

/// The user halves of both records. The second is created by the scenario's sign-in.
type Records = [Option<Row>; 2];

/// How far a writer is with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Unread,
    Read(Row), // its base
    Written,   // or absent
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Look {
    AtOnce,
    Later,
}

/// The step that a process takes next, with what it remembers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    // updateUser: Update Refresh*, and a look if a record has changed. The stamp is the scenario's,
    // because it is taken before the statement and by any clock.
    Update(Change, u8),
    Refresh(Row, [Part; 2], bool), // the row that the statement returned, and whether to look
    // sign-in: SignIn Create, and a look
    SignIn,
    Create(Row),
    // look: (ReadRecords ReadRow Install*)+, then Wait and the same again
    ReadRecords(Look),
    ReadRow(Look, Records),
    Install(Look, Records, Row, bool), // the records to replace as they were read, and whether to look again
    Wait(usize), // 5 s, and which version of the row is the newest when they begin
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    rows: [Row; 4], // its versions; with `Reads::Newest` only the first place is used
    newest: usize,
    oldest_readable: usize,
    records: Records,
    todo: [Step; 3],
}

#[derive(Clone, Copy)]
struct Scenario {
    changes: &'static [Change], // of one writer each
    stamps: [u8; 3],
    has_sign_in: bool,
    merge: Merge,
    reads: Reads,
    at_once: bool, // the records equal the row as soon as only second looks are still to come
    left_out: &'static [Rule],
}

impl Scenario {
    fn has(&self, rule: Rule) -> bool {
        !self.left_out.contains(&rule)
    }

    fn start(&self) -> State {
        let mut todo = [Done; 3];
        let updates =
            self.changes.iter().zip(self.stamps).map(|(change, stamp)| Update(*change, stamp));
        let sign_in = self.has_sign_in.then_some(SignIn);
        todo.iter_mut().zip(updates.chain(sign_in)).for_each(|(step, first)| *step = first);
        State {
            rows: [START; 4],
            newest: 0,
            oldest_readable: 0,
            records: [Some(START), None],
            todo,
        }
    }

    /// Returns the shortest trace to a record that is unlike the row.
    fn explore(&self) -> Option<String> {
        let start = self.start();
        let mut seen = HashSet::<_, BuildHasherDefault<StateHasher>>::from_iter([start]);
        let mut visits = vec![(start, 0)];
        let mut at = 0;
        while at < visits.len() {
            let state = visits[at].0;
            if self.is_broken(&state) {
                return Some(trace(&visits, at));
            }
            for process in 0..state.todo.len() {
                self.advance(&state, process, |next| {
                    if seen.insert(next) {
                        visits.push((next, at));
                    }
                });
            }
            at += 1;
        }
        None
    }

    fn is_broken(&self, state: &State) -> bool {
        let is_over = |step: &Step| matches!(step, Done) || self.at_once && matches!(step, Wait(_));
        state.todo.iter().all(is_over)
            && state.records.iter().flatten().any(|record| *record != state.row())
    }

    /// Hands over each state that the process's next step may lead to.
    fn advance(&self, state: &State, process: usize, mut next: impl FnMut(State)) {
        let mut to = |step, change: &dyn Fn(&mut State)| {
            let mut after = *state;
            after.todo[process] = step;
            change(&mut after);
            next(after);
        };
        match state.todo[process] {
            Update(change, stamp) => {
                let row = state.row().changed(change, stamp);
                let newest = if self.reads == Newest { 0 } else { state.newest + 1 };
                let parts = [Unread, if state.may_have_second() { Unread } else { Written }];
                to(Refresh(row, parts, false), &|after| {
                    (after.newest, after.rows[newest]) = (newest, row)
                });
            }
            // Better Auth refreshes all records at once, so in any order.
            Refresh(row, parts, looks) => {
                for i in 0..parts.len() {
                    let (mut parts, mut looks, mut record) = (parts, looks, state.records[i]);
                    parts[i] = match (parts[i], record) {
                        (Written, _) => continue,
                        (Unread, Some(base)) => Read(base),
                        (Read(base), Some(stored)) => {
                            let merged = self.merge.merged(base, stored, row);
                            let is_dropped = merged != row && self.has(DroppedLooks);
                            looks |= self.has(WriterLooks) && (merged != stored || is_dropped);
                            record = Some(merged);
                            Written
                        }
                        (_, None) => Written,
                    };
                    let step = match parts {
                        [Written, Written] if looks => ReadRecords(AtOnce),
                        [Written, Written] => Done,
                        _ => Refresh(row, parts, looks),
                    };
                    to(step, &|after| after.records[i] = record);
                }
            }
            SignIn => state.readable().iter().for_each(|row| to(Create(*row), &|_| {})),
            Create(row) => {
                let step = if self.has(CreatorLooks) { ReadRecords(AtOnce) } else { Done };
                to(step, &|after| after.records[1] = Some(row));
            }

            ReadRecords(look) => to(ReadRow(look, state.records), &|_| {}),
            ReadRow(look, records) => {
                let is_settled = look == Later && self.reads == AnyUntilQuiet;
                let readable = if is_settled { &[state.row()] } else { state.readable() };
                for row in readable {
                    let may_be_older = look == Later || !self.has(AtOnceNeverOlder);
                    let differs =
                        |record: &Row| record != row && (may_be_older || row.stamp >= record.stamp);
                    let records = records.map(|record| record.filter(differs));
                    to(self.go_on(state, look, records, *row, false), &|_| {});
                }
            }
            Install(look, mut records, row, mut again) => {
                let i = usize::from(records[0].is_none());
                let is_unchanged = state.records[i] == records[i].take();
                again |= !is_unchanged || self.has(LooksAgain);
                let record = if is_unchanged { Some(row) } else { state.records[i] };
                to(self.go_on(state, look, records, row, again), &|after| {
                    after.records[i] = record
                });
            }
            Wait(_) if self.reads == AnyUntilQuiet && state.todo.iter().any(Step::is_request) => {}
            // No replica still serves a version that was replaced 5 s ago.
            Wait(oldest) => to(ReadRecords(Later), &|after| {
                after.oldest_readable = oldest.max(state.oldest_readable)
            }),
            Done => {}
        }
    }

    /// A look's next step, with the records that are still to be replaced.
    fn go_on(&self, state: &State, look: Look, records: Records, row: Row, again: bool) -> Step {
        match look {
            _ if records != [None; 2] => Install(look, records, row, again),
            Later if again && self.has(LaterAgainLater) => Wait(state.newest),
            _ if again => ReadRecords(look),
            AtOnce if self.has(LooksLater) => Wait(state.newest),
            _ => Done,
        }
    }
}

impl State {
    fn row(&self) -> Row {
        self.rows[self.newest]
    }

    fn readable(&self) -> &[Row] {
        &self.rows[self.oldest_readable..=self.newest]
    }

    fn may_have_second(&self) -> bool {
        self.records[1].is_some() || self.todo.iter().any(|step| matches!(step, SignIn | Create(_)))
    }
}

impl Step {
    fn is_request(&self) -> bool {
        matches!(self, Update(..) | Refresh(..) | SignIn | Create(_))
    }
}

fn trace(visits: &[(State, usize)], at: usize) -> String {
    let (state, from) = &visits[at];
    let records: Vec<_> = state.records.iter().flatten().collect();
    let after = format!("row {:?}, records {records:?}", state.row());
    if at == 0 {
        return format!("  start: {after}\n");
    }
    let before = visits[*from].0.todo;
    let process =
        (0..before.len()).find(|i| before[*i] != state.todo[*i]).expect("a step leads to another");
    format!("{}  {process}: {:?}\n      {after}\n", trace(visits, *from), before[process])
}

/// The default hasher takes twice as long in a debug build.
#[derive(Default)]
struct StateHasher(u64);

impl Hasher for StateHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u8(*byte));
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The stamps of the writers. `updatedAt` is taken before the statement, so even right clocks give
/// them in any order. [`START`] has stamp 1.
const STAMPS: [[u8; 3]; 8] = [
    [2, 3, 4],
    [1, 1, 1], // all within one tick, so a row can return to a former value
    [9, 3, 4], // one clock is ahead
    [2, 9, 4],
    [2, 3, 9],
    [0, 3, 4], // one clock is behind
    [2, 0, 4],
    [2, 3, 0],
];
const RIGHT: &[[u8; 3]] = &[STAMPS[0]];
const EQUAL: &[[u8; 3]] = &[STAMPS[1]];

const ONE: &[Change] = &[RoleRemoved];
const TWO: &[Change] = &[RoleRemoved, Renamed];
const BACK: &[Change] = &[RoleRemoved, RoleGivenBack];
const THREE: &[Change] = &[RoleRemoved, Renamed, RoleGivenBack];
const BACK_AND_FORTH: &[Change] = &[RoleRemoved, RoleGivenBack, RoleRemoved];

const SCENARIO: Scenario = Scenario {
    changes: ONE,
    stamps: STAMPS[0],
    has_sign_in: false,
    merge: ThreeWay,
    reads: Newest,
    at_once: false,
    left_out: &[],
};
const SIGN_IN: Scenario = Scenario { has_sign_in: true, ..SCENARIO };

/// Panics with the shortest trace if a record ends unlike the row.
fn assert_holds(
    scenario: Scenario,
    changes: &'static [Change],
    merges: &[Merge],
    stamps: &[[u8; 3]],
) {
    for (merge, stamps) in
        merges.iter().flat_map(|merge| stamps.iter().map(move |stamps| (*merge, *stamps)))
    {
        let trace = Scenario { changes, merge, stamps, ..scenario }.explore();
        assert!(trace.is_none(), "{merge:?}, {:?}\n{}", scenario.reads, trace.unwrap_or_default());
    }
}

/// Of the 70 schedules of two writers without a look, as many end unlike the row. A writer has four
/// steps: stamp, statement, read, write.
fn unlike_the_row(merge: Merge, clock_offsets: [u8; 2]) -> usize {
    let is_unlike = |order: &u32| {
        let (mut row, mut record) = (START, START);
        let mut writers = [(0, START, START); 2];
        for tick in 0..8 {
            let writer = usize::from(order >> tick & 1 == 1);
            let (step, written, base) = &mut writers[writer];
            match step {
                0 => written.stamp = 2 + tick + clock_offsets[writer],
                1 => {
                    row = row.changed(TWO[writer], written.stamp);
                    *written = row;
                }
                2 => *base = record,
                _ => record = merge.merged(*base, record, *written),
            }
            *step += 1;
        }
        (record.is_admin, record.is_renamed) != (row.is_admin, row.is_renamed)
    };
    (0..1 << 8).filter(|order: &u32| order.count_ones() == 4).filter(is_unlike).count()
}

#[test]
fn without_a_look_every_merge_ends_unlike_the_row_in_some_schedule() {
    for (clock_offsets, newer_stamp) in [([0, 0], 20), ([100, 0], 35), ([0, 100], 35)] {
        assert_eq!(unlike_the_row(LastWrite, clock_offsets), 26);
        assert_eq!(unlike_the_row(ThreeWay, clock_offsets), 6);
        assert_eq!(unlike_the_row(NewerStamp, clock_offsets), newer_stamp);
    }
}

#[test]
fn with_a_look_at_the_newest_row_every_schedule_ends_like_the_row() {
    for left_out in [FOR_REPLICAS, BEYOND_ASSUMPTIONS] {
        let (alone, beside_sign_in) =
            (Scenario { left_out, ..SCENARIO }, Scenario { left_out, ..SIGN_IN });
        assert_holds(alone, TWO, &[LastWrite, ThreeWay], &STAMPS);
        assert_holds(alone, BACK, &[LastWrite, ThreeWay], &STAMPS);
        assert_holds(beside_sign_in, ONE, &[LastWrite, ThreeWay], &STAMPS);
        assert_holds(alone, THREE, &[LastWrite, ThreeWay], EQUAL);
        assert_holds(alone, BACK_AND_FORTH, &[LastWrite, ThreeWay], EQUAL);
    }
    let (alone, beside_sign_in) = (
        Scenario { left_out: FOR_REPLICAS, ..SCENARIO },
        Scenario { left_out: FOR_REPLICAS, ..SIGN_IN },
    );
    assert_holds(alone, THREE, &[ThreeWay], &STAMPS);
    assert_holds(alone, THREE, &[LastWrite], RIGHT);
    assert_holds(alone, BACK_AND_FORTH, &[LastWrite, ThreeWay], RIGHT);
    assert_holds(beside_sign_in, TWO, &[ThreeWay], RIGHT);
    assert_holds(beside_sign_in, BACK, &[LastWrite], EQUAL);
}

#[test]
fn a_second_look_makes_up_for_a_replica_that_lags() {
    let left_out = BEYOND_ASSUMPTIONS;
    let alone = Scenario { reads: AnyUntilQuiet, left_out, ..SCENARIO };
    let beside_sign_in = Scenario { reads: AnyUntilQuiet, left_out, ..SIGN_IN };
    assert_holds(alone, TWO, &[LastWrite, ThreeWay], &STAMPS);
    assert_holds(alone, BACK, &[LastWrite, ThreeWay], &STAMPS);
    assert_holds(beside_sign_in, ONE, &[LastWrite, ThreeWay], &STAMPS);
    assert_holds(alone, THREE, &[ThreeWay], RIGHT);
    assert_holds(alone, BACK_AND_FORTH, &[LastWrite, ThreeWay], EQUAL);
}

#[test]
fn while_others_write_second_looks_repeat_until_they_install_nothing() {
    let alone = Scenario { reads: AnyOfLast5s, ..SCENARIO };
    let beside_sign_in = Scenario { reads: AnyOfLast5s, ..SIGN_IN };
    assert_holds(alone, TWO, &[LastWrite, ThreeWay, NewerStamp], &STAMPS);
    assert_holds(alone, BACK, &[LastWrite, ThreeWay, NewerStamp], &STAMPS);
    assert_holds(beside_sign_in, ONE, &[LastWrite, ThreeWay, NewerStamp], &STAMPS);
    assert_holds(alone, BACK_AND_FORTH, &[ThreeWay, NewerStamp], EQUAL);
}

/// For each rule a scenario that breaks without it.
const NEEDED: &[(&[Rule], Scenario)] = &[
    (&[WriterLooks], Scenario { changes: TWO, ..SCENARIO }),
    (&[CreatorLooks], SIGN_IN),
    // The row changes and changes back while a look holds the value between. Its compare does not
    // notice that.
    (&[LooksAgain], Scenario { changes: BACK_AND_FORTH, stamps: STAMPS[1], ..SCENARIO }),
    (&[AtOnceNeverOlder], Scenario { reads: AnyUntilQuiet, at_once: true, ..SCENARIO }),
    (&[LooksLater], Scenario { changes: TWO, reads: AnyUntilQuiet, ..SCENARIO }),
    // A second look installs the newest row, so the writer of that row changes nothing and does not
    // look. Then the second look reads an older version from another replica.
    (&[LaterAgainLater], Scenario { changes: TWO, reads: AnyOfLast5s, ..SCENARIO }),
    // The writer's clock is behind, so the record keeps the older half.
    (&[DroppedLooks], Scenario { stamps: STAMPS[5], merge: NewerStamp, ..SCENARIO }),
];

#[test]
fn each_rule_is_needed() {
    for (rule, scenario) in NEEDED {
        let trace = scenario.explore();
        assert!(trace.is_none(), "with {rule:?}\n{}", trace.unwrap_or_default());
        assert!(Scenario { left_out: rule, ..*scenario }.explore().is_some(), "without {rule:?}");
    }
}
