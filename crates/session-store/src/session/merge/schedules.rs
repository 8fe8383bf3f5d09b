//! Every interleaving of writers of one session half, run through the merge itself: which expiry
//! stands at the end.
//!
//! A writer reads the record one or more times, and then writes. The read log knows the versions,
//! so the bases are exact.

use std::collections::BTreeMap;

use Bad::*;
use Writer::*;

use super::tests::{digest, merged_of};
use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Writer {
    /// Better Auth's refresh: reads, decides to extend, reads the base, writes.
    Refresh,
    /// `updateSession(token, { expiresAt })`: reads the base, writes a short expiry.
    Shorten,
    /// A hook that caps every expiry at less: reads the base, writes.
    Cap,
    /// `setActiveOrganization`: reads the base, writes.
    Organization,
    /// `updateUser`: reads the base, writes its session half as it was read.
    User,
    /// Better Auth up to 1.4.17: reads at the start of the request, reads twice more, and writes
    /// the half that it read at the start.
    Cookie,
}

impl Writer {
    fn reads(self) -> usize {
        match self {
            Refresh => 2,
            Shorten | Cap | Organization | User => 1,
            Cookie => 3,
        }
    }
}

/// In ms since the epoch.
const BEGIN: i64 = 600_000;
const EXTENDED: i64 = 700_000;
const CAPPED: i64 = 50_000;
const SHORTENED: i64 = 5_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bad {
    /// A shortening was done, no writer decided to extend what was shortened, and yet the session
    /// lives longer.
    Undone,
    /// Of two shortenings the later one stands.
    LaterOfTwo,
    /// The session was extended, no writer shortened it, and yet the old expiry stands.
    LostExtension,
    LostOrganization,
}

#[derive(Clone, Copy, PartialEq)]
struct Session {
    expires: i64,
    updated: i64,
    organization: char,
}

impl Session {
    fn json(self) -> String {
        let Session { expires, updated, organization } = self;
        format!(
            r#"{{"session":{{"token":"t","userId":"u","expiresAt":{expires},"updatedAt":{updated},"org":"{organization}"}},"user":{{"id":"u"}}}}"#
        )
    }

    fn parse(json: &str) -> Self {
        let record = Record::parse("t", json).unwrap();
        let text = |name| record.session().get(name).unwrap();
        Session {
            expires: record.expires_at().unwrap(),
            updated: instant(text("updatedAt")).unwrap(),
            organization: text("org").chars().nth(1).unwrap(),
        }
    }
}

/// What goes wrong when the writers take their steps in this order. `stamp`: when the refresh
/// happens, after an `updatedAt` of 0.
fn run(writers: &[Writer], order: &[usize], stamp: i64) -> Vec<Bad> {
    let mut stored = Session { expires: BEGIN, updated: 0, organization: 'a' }.json();
    let mut reads = vec![Vec::<String>::new(); writers.len()];
    let (mut is_shortened, mut extends_shortened) = (false, false);
    for &at in order {
        let read = &mut reads[at];
        if read.len() < writers[at].reads() {
            read.push(stored.clone());
            continue;
        }
        let first = Session::parse(&read[0]);
        let base = read.pop().unwrap();
        let mut session = Session::parse(&base);
        match writers[at] {
            Refresh => {
                (session.expires, session.updated) = (EXTENDED, stamp);
                extends_shortened |= first.expires == SHORTENED;
            }
            Shorten => session.expires = SHORTENED,
            Cap => session.expires = CAPPED,
            Organization => session.organization = 'b',
            User => {}
            Cookie => session = first,
        }
        is_shortened |= [Shorten, Cap].contains(&writers[at]);
        let earlier: Vec<_> = read.iter().map(|json| digest(json)).collect();
        let bases = if writers[at] == Cookie {
            // It writes long after it read.
            Bases { candidates: [earlier, vec![digest(&base)]].concat(), ..Bases::default() }
        } else {
            Bases { candidates: vec![digest(&base)], is_certain: true, earlier }
        };
        stored = merged_of(&bases, &stored, &session.json());
    }
    let end = Session::parse(&stored);
    let has = |writer| writers.contains(&writer);
    let checks = [
        (Undone, is_shortened && !extends_shortened && end.expires > CAPPED),
        (LaterOfTwo, has(Shorten) && has(Cap) && !extends_shortened && end.expires != SHORTENED),
        (LostExtension, has(Refresh) && !is_shortened && end.expires != EXTENDED),
        (LostOrganization, has(Organization) && end.organization != 'b'),
    ];
    checks.into_iter().filter(|(_, is_bad)| *is_bad).map(|(bad, _)| bad).collect()
}

fn orders(left: &mut [usize], order: &mut Vec<usize>, visit: &mut impl FnMut(&[usize])) {
    if left.iter().all(|steps| *steps == 0) {
        return visit(order);
    }
    for at in 0..left.len() {
        if left[at] > 0 {
            left[at] -= 1;
            order.push(at);
            orders(left, order, visit);
            order.pop();
            left[at] += 1;
        }
    }
}

/// In how many orders, and in how many of them what goes wrong.
fn explore(writers: &[Writer], stamp: i64) -> (usize, BTreeMap<Bad, usize>) {
    let (mut total, mut bad) = (0, BTreeMap::new());
    let mut left: Vec<_> = writers.iter().map(|writer| writer.reads() + 1).collect();
    orders(&mut left, &mut Vec::new(), &mut |order| {
        total += 1;
        for kind in run(writers, order, stamp) {
            *bad.entry(kind).or_default() += 1;
        }
    });
    (total, bad)
}

/// A shortening can be undone by a refresh that was decided before it and whose base was read after
/// it: Better Auth writes an extension of the very version that it read. In the same way a
/// cap replaces a shorter expiry that it read. Better Auth up to 1.4.17 can undo another request's
/// organization: what it writes back late looks like a change back to the former one, which has to
/// work.
#[test]
fn a_shortening_holds_except_in_orders_that_cannot_be_distinguished() {
    type Case<'c> = (&'c [Writer], usize, &'c [(Bad, usize)]);
    let cases: &[Case<'_>] = &[
        (&[Refresh, Shorten], 10, &[(Undone, 2)]),
        (&[Refresh, User], 10, &[]),
        (&[Shorten, User], 6, &[]),
        (&[Refresh, Shorten, User], 210, &[(Undone, 42)]),
        (&[Refresh, Organization, User], 210, &[]),
        (&[Shorten, Cap], 6, &[(LaterOfTwo, 1)]),
        (&[Cookie, Refresh], 35, &[]),
        (&[Cookie, Shorten], 15, &[]),
        (&[Cookie, Organization], 15, &[(LostOrganization, 5)]),
        (&[Refresh, Shorten, Organization, User], 7560, &[(Undone, 1512)]),
    ];
    // A refresh after a day, and one within seconds of the last.
    for stamp in [100_000, 10_000] {
        for (writers, total, bad) in cases {
            let bad: BTreeMap<_, _> = bad.iter().copied().collect();
            assert_eq!(explore(writers, stamp), (*total, bad), "{writers:?}, {stamp}");
        }
    }
}
