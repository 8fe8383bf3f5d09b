//! How a written record is merged with the stored one.
//!
//! Better Auth reads a session, changes it and writes the whole back. The base is the version that
//! the writer had read, chosen for each half (`session`, `user`) by itself:
//! - A field that equals the base was not changed by the writer and keeps the stored value.
//! - A field that differs was changed and is written. If the stored one differs too, the later
//!   write stands.
//! - `expiresAt`, changed by both: a shortening beats an extension, and of two shortenings the
//!   earlier stands.
//! - `updatedAt`, changed by both: the later one. It decides nothing else, because clocks differ
//!   and Better Auth stamps it before its statement reaches the database.
//! - A half that is as it was read is not changed at all.
//!
//! Without a known base the writer's fields stand, and the earlier `expiresAt`; see
//! [`unknown_base`].

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::digest::{Digest, HalfDigest};
use super::field;
use super::object::Object;
use super::record::{Record, Shape, instant, user_in};

/// A session half with an `updatedAt` that is older than its base's by more than this, in ms, was
/// read before that base. (The cookie cache of Better Auth up to 1.4.17 writes back what a cookie
/// held.)
const STALE_MS: i64 = 30_000;

/// The two halves of a record.
#[derive(Clone, Copy, PartialEq)]
enum Half {
    Session,
    User,
}

impl Half {
    /// The fields that two writers may well set to the same value by chance.
    fn times(self) -> &'static [&'static str] {
        match self {
            Half::Session => &[field::UPDATED_AT, field::EXPIRES_AT],
            Half::User => &[field::UPDATED_AT],
        }
    }

    const BOTH: [Half; 2] = [Half::Session, Half::User];

    fn of(self, version: &Digest) -> Option<&HalfDigest> {
        match self {
            Half::Session => Some(&version.session),
            Half::User => version.user.as_ref(),
        }
    }

    /// Whether fields differ, times apart.
    fn differs(self, one: &Digest, other: &Digest) -> bool {
        self.of(one)
            .zip(self.of(other))
            .is_some_and(|(one, other)| one.differing(other, self.times()) > 0)
    }
}

/// What the writer of a record may have read.
#[derive(Debug, Default)]
pub(crate) struct Bases {
    /// The versions that it may have changed, the latest last.
    pub(crate) candidates: Vec<Arc<Digest>>,
    /// Whether it has just read one of them; else it did at some time.
    pub(crate) is_certain: bool,
    /// Further versions that it read at some time; those with other times than the written half may
    /// be left out.
    pub(crate) earlier: Vec<Arc<Digest>>,
}

/// What a half was changed from.
enum Base<'b> {
    /// The half is as it was read.
    Unchanged,
    Known(&'b HalfDigest),
    Unknown,
}

/// The record to store when `write` arrives over `stored` from a writer that read one of `bases`.
/// Borrowed when it is `write` as it came. `now`: the engine's clock in ms since the epoch; `None`
/// is answered when it is needed and not given.
pub(crate) fn merge<'w>(
    bases: &Bases,
    stored: &Record<'_>,
    write: &Record<'w>,
    now: Option<i64>,
) -> Option<Cow<'w, str>> {
    let digest = Digest::of(write);
    let session_base = base_of(Half::Session, bases, &digest);
    let merged_session = |stored, written| session_half(&session_base, stored, written, now);
    let merged = match (&stored.shape, &write.shape) {
        (Shape::Flat(stored), Shape::Flat(written)) => {
            let merged = merged_session(stored, written)?;
            if merged == *written {
                Cow::Borrowed(write.json)
            } else {
                Cow::Owned(merged.to_json())
            }
        }
        (
            Shape::Nested { outer: stored_outer, session: stored },
            Shape::Nested { outer, session: written },
        ) => {
            let session = merged_session(stored, written)?;
            let user = match (user_in(stored_outer), user_in(outer)) {
                (Some(stored), Some(written)) => {
                    Some(user_half(&base_of(Half::User, bases, &digest), &stored, &written))
                }
                (stored, written) => written.or(stored),
            };
            if session == *written && user == user_in(outer) {
                return Some(Cow::Borrowed(write.json));
            }
            let session = session.to_json();
            let user = user.map(|user| user.to_json());
            let mut whole = outer.clone();
            whole.set(Cow::Borrowed(field::SESSION), &session);
            if let Some(user) = &user {
                whole.set(Cow::Borrowed(field::USER), user);
            }
            Cow::Owned(whole.to_json())
        }
        // A bare session over Better Auth's shape is its session half.
        (Shape::Nested { outer, session: stored }, Shape::Flat(written)) => {
            let session = merged_session(stored, written)?.to_json();
            let mut whole = outer.clone();
            whole.set(Cow::Borrowed(field::SESSION), &session);
            Cow::Owned(whole.to_json())
        }
        (Shape::Flat(_), Shape::Nested { .. }) => Cow::Borrowed(write.json),
    };
    Some(merged)
}

/// The record to store when a new session takes the place of `stored`: nothing of the old session
/// stays, but the user that Better Auth stored beside it does.
pub(crate) fn replace<'w>(stored: &Record<'_>, write: &Record<'w>) -> Cow<'w, str> {
    match (&stored.shape, &write.shape) {
        (Shape::Nested { outer, .. }, Shape::Flat(_)) => {
            let mut whole = outer.clone();
            whole.set(Cow::Borrowed(field::SESSION), write.json);
            Cow::Owned(whole.to_json())
        }
        _ => Cow::Borrowed(write.json),
    }
}

/// `record` with the members of `changes` set in its session half.
pub(crate) fn patch(record: &Record<'_>, changes: &Object<'_>) -> String {
    let mut session = record.session().clone();
    for (name, raw) in changes.iter() {
        session.set(name.clone(), raw);
    }
    match &record.shape {
        Shape::Flat(_) => session.to_json(),
        Shape::Nested { outer, .. } => {
            let session = session.to_json();
            let mut whole = outer.clone();
            whole.set(Cow::Borrowed(field::SESSION), &session);
            whole.to_json()
        }
    }
}

/// `record` with another user half, which is a JSON object. `None`: the record has no place for
/// one.
pub(crate) fn with_user(record: &Record<'_>, user: &str) -> Option<String> {
    let Shape::Nested { outer, .. } = &record.shape else { return None };
    let mut whole = outer.clone();
    whole.set(Cow::Borrowed(field::USER), user);
    Some(whole.to_json())
}

fn session_half<'a>(
    base: &Base<'_>,
    stored: &Object<'a>,
    written: &Object<'a>,
    now: Option<i64>,
) -> Option<Object<'a>> {
    match base {
        Base::Unchanged => Some(stored.clone()),
        Base::Known(base) => Some(three_way(Half::Session, base, stored, written)),
        Base::Unknown => unknown_base(stored, written, now),
    }
}

fn user_half<'a>(base: &Base<'_>, stored: &Object<'a>, written: &Object<'a>) -> Object<'a> {
    match base {
        Base::Unchanged => stored.clone(),
        Base::Known(base) => three_way(Half::User, base, stored, written),
        // It comes from the database whole.
        Base::Unknown => written.clone(),
    }
}

/// The version that the writer changed. Of those that it may have read: one whose times lead to the
/// written ones, before all; of these the one with the fewest differing fields, times apart; on a
/// tie the one whose times were written, then the latest.
fn base_of<'b>(half: Half, bases: &'b Bases, write: &Digest) -> Base<'b> {
    let candidates: Vec<_> = bases
        .candidates
        .iter()
        .filter_map(|version| Some((&**version, half.of(version)?)))
        .collect();
    let (Some(written), Some((_, latest))) = (half.of(write), candidates.last()) else {
        return Base::Unknown;
    };
    let has_times = |one: &HalfDigest, other: &HalfDigest| one.times() == other.times();
    // No caller writes back later just what it read, but users do change things back to what they
    // were.
    let explains = |version: &Digest| {
        bases.is_certain
            || Half::BOTH.iter().any(|half| half.differs(version, write))
            || version.session.expires_at != write.session.expires_at
    };
    let is_reading = |version: &HalfDigest| version == written && !has_times(version, latest);
    let was_read = |(version, own): &(&Digest, &HalfDigest)| {
        *own == written && explains(version) || is_reading(own)
    };
    let was_read_earlier = || {
        half == Half::Session && bases.earlier.iter().any(|version| is_reading(&version.session))
    };
    if *latest == written || candidates.iter().any(was_read) || was_read_earlier() {
        return Base::Unchanged;
    }
    let likeliest = (candidates.iter().rev().enumerate())
        .filter(|(at, (version, _))| *at == 0 || explains(version))
        .map(|(at, (_, own))| {
            let is_other_time = !has_times(own, written);
            (
                (
                    is_other_time && goes_back(own, written),
                    own.differing(written, half.times()),
                    is_other_time,
                    at,
                ),
                *own,
            )
        })
        .min_by_key(|(rank, _)| *rank);
    let Some((_, base)) = likeliest else { return Base::Unknown };
    if half == Half::Session && is_stale(base.updated_at, written.updated_at) {
        Base::Unchanged
    } else {
        Base::Known(base)
    }
}

/// Whether a session half with this `updatedAt` was read before that base.
pub(crate) fn is_stale(base: Option<i64>, written: Option<i64>) -> bool {
    base.zip(written).is_some_and(|(base, written)| written.saturating_add(STALE_MS) < base)
}

/// Whether a writer would have moved the times back: a refresh takes a newer stamp, and only a
/// shortening keeps the stamp.
fn goes_back(base: &HalfDigest, written: &HalfDigest) -> bool {
    match written.updated_at.cmp(&base.updated_at) {
        Ordering::Less => true,
        Ordering::Equal => written.expires_at > base.expires_at,
        Ordering::Greater => false,
    }
}

fn three_way<'a>(
    half: Half,
    base: &HalfDigest,
    stored: &Object<'a>,
    written: &Object<'a>,
) -> Object<'a> {
    let chosen = |name: &str| {
        let (now, then) = (written.get(name), stored.get(name));
        if now == then || base.has(name, now) {
            return then;
        }
        if base.has(name, then) {
            return now;
        }
        let written_stands = match (name, at(then), at(now)) {
            (field::EXPIRES_AT, Some(then), Some(now)) if half == Half::Session => {
                match base.expires_at.map(|base| (then < base, now < base)) {
                    Some((true, true)) => now < then,
                    Some((is_shortened, shortens)) if is_shortened != shortens => shortens,
                    _ => now > then,
                }
            }
            (field::UPDATED_AT, Some(then), Some(now)) => now > then,
            _ => true,
        };
        if written_stands { now } else { then }
    };
    join(stored, written, chosen)
}

/// The session half when it is not known what its writer has read, such as in a process that never
/// read the record. Its fields stand. Of two expiries the earlier stands, unless the written half is
/// newer by stamps that may be believed: those of the engine's past.
fn unknown_base<'a>(
    stored: &Object<'a>,
    written: &Object<'a>,
    now: Option<i64>,
) -> Option<Object<'a>> {
    let time = |half: &Object<'_>, name| at(half.get(name));
    let [then_expires, now_expires] = [stored, written].map(|half| time(half, field::EXPIRES_AT));
    let [then_updated, now_updated] = [stored, written].map(|half| time(half, field::UPDATED_AT));
    let is_extension = now_expires > then_expires && then_expires.is_some();
    let believed = match (then_updated, now_updated) {
        (Some(then), Some(stamp)) if is_extension && stamp > then => stamp <= now?,
        _ => false,
    };
    Some(join(stored, written, |name| match name {
        field::EXPIRES_AT if is_extension && !believed => stored.get(name),
        field::UPDATED_AT if then_updated > now_updated => stored.get(name),
        _ => written.get(name).or(stored.get(name)),
    }))
}

/// An object of the fields of both, each with the text that is `chosen` for its name; those without
/// one are left out.
fn join<'a>(
    stored: &Object<'a>,
    written: &Object<'a>,
    chosen: impl Fn(&str) -> Option<&'a str>,
) -> Object<'a> {
    let mut joined = Object::default();
    for (name, _) in written.iter().chain(stored.iter()) {
        if let Some(raw) = chosen(name) {
            joined.set(name.clone(), raw);
        }
    }
    joined
}

fn at(raw: Option<&str>) -> Option<i64> {
    raw.and_then(instant)
}

#[cfg(test)]
mod schedules;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(session: &str, user: &str) -> String {
        format!(
            r#"{{"session":{{"token":"t","userId":"u",{session}}},"user":{{"id":"u",{user}}}}}"#
        )
    }

    pub(super) fn digest(json: &str) -> Arc<Digest> {
        Arc::new(Digest::of(&Record::parse("t", json).unwrap()))
    }

    fn bases(candidates: &[&str]) -> Bases {
        Bases {
            candidates: candidates.iter().map(|json| digest(json)).collect(),
            ..Bases::default()
        }
    }

    pub(super) fn merged_of(bases: &Bases, stored: &str, write: &str) -> String {
        let parse = |json| Record::parse("t", json).unwrap();
        merge(bases, &parse(stored), &parse(write), Some(i64::MAX)).unwrap().into_owned()
    }

    /// The writer read one of these at some time.
    fn merged(candidates: &[&str], stored: &str, write: &str) -> String {
        merged_of(&bases(candidates), stored, write)
    }

    /// The writer has just read one of these.
    fn merged_now(candidates: &[&str], stored: &str, write: &str) -> String {
        merged_of(&Bases { is_certain: true, ..bases(candidates) }, stored, write)
    }

    const OLD: &str = r#""updatedAt":"2026-01-01T00:00:00.000Z""#;
    const NEW: &str = r#""updatedAt":"2026-01-02T00:00:00.000Z""#;

    #[test]
    fn a_write_over_its_own_base_is_kept_byte_for_byte() {
        let base = record(OLD, OLD);
        let write = format!(" {}", record(&format!(r#"{NEW},"n": 1.0"#), OLD));
        assert_eq!(merged(&[&base], &base, &write), write);
    }

    #[test]
    fn changes_of_different_fields_are_both_kept() {
        let base = record(&format!(r#"{OLD},"org":null"#), &format!(r#"{OLD},"name":"a""#));
        let stored = record(&format!(r#"{OLD},"org":null"#), &format!(r#"{NEW},"name":"b""#));
        let write = record(&format!(r#"{OLD},"org":"o""#), &format!(r#"{OLD},"name":"a""#));
        let expected = record(&format!(r#"{OLD},"org":"o""#), &format!(r#"{NEW},"name":"b""#));
        assert_eq!(merged(&[&base], &stored, &write), expected);
        // The same the other way round.
        assert_eq!(merged(&[&base], &write, &stored), expected);
    }

    #[test]
    fn a_change_back_to_a_former_value_is_a_change() {
        let (a, b) = (
            record(&format!(r#"{OLD},"org":"a""#), OLD),
            record(&format!(r#"{OLD},"org":"b""#), OLD),
        );
        assert_eq!(merged(&[&b], &b, &a), a);
        let (user, admin) = (
            record(OLD, &format!(r#"{NEW},"role":"user""#)),
            record(OLD, &format!(r#"{OLD},"role":"admin""#)),
        );
        assert_eq!(merged(&[&admin], &admin, &user), user);
    }

    #[test]
    fn of_several_candidates_the_likeliest_is_the_base() {
        let read = record(&format!(r#"{OLD},"a":1,"b":1"#), OLD);
        let stored = record(&format!(r#"{OLD},"a":2,"b":1"#), OLD);
        let other = record(&format!(r#"{OLD},"a":1,"b":2"#), OLD);
        assert_eq!(
            merged(&[&read, &stored], &stored, &other),
            record(&format!(r#"{OLD},"a":2,"b":2"#), OLD)
        );
        // A change back to what was read before, not a reading that was written back.
        assert_eq!(merged(&[&read, &stored], &stored, &read), read);
        let again = record(&format!(r#"{NEW},"a":1,"b":1"#), OLD);
        assert_eq!(merged(&[&read, &stored], &stored, &again), again);
        // A refresh of what was read before, to the very time that another refresh chose.
        let times =
            r#""updatedAt":"2026-01-02T00:00:00.000Z","expiresAt":"2026-02-02T00:00:00.000Z""#;
        let refreshed = record(&format!(r#"{times},"a":2,"b":1"#), OLD);
        let slow = record(&format!(r#"{times},"a":1,"b":1"#), OLD);
        assert_eq!(merged(&[&read, &stored, &refreshed], &refreshed, &slow), refreshed);
    }

    /// A session that expires so many minutes past midnight, with a user.
    fn expiring(minutes: u32, others: &str) -> String {
        record(&format!(r#""expiresAt":"2026-01-01T00:{minutes:02}:00.000Z"{others}"#), OLD)
    }

    #[test]
    fn the_written_expiry_stands_over_its_own_base() {
        let base = expiring(30, "");
        for minutes in [5, 50] {
            assert_eq!(merged_now(&[&base], &base, &expiring(minutes, "")), expiring(minutes, ""));
        }
    }

    #[test]
    fn a_shortening_beats_an_extension_and_the_earlier_of_two_stands() {
        let base = expiring(30, "");
        for (stored, written, stands) in
            [(50, 5, 5), (5, 50, 5), (5, 10, 5), (10, 5, 5), (40, 50, 50), (50, 40, 50)]
        {
            assert_eq!(
                merged_now(&[&base], &expiring(stored, ""), &expiring(written, "")),
                expiring(stands, "")
            );
        }
        // Only one of them changed it.
        assert_eq!(
            merged_now(&[&base], &expiring(5, ""), &expiring(30, r#","org":1"#)),
            expiring(5, r#","org":1"#)
        );
    }

    #[test]
    fn without_a_known_base_the_fields_stand_and_the_earlier_expiry() {
        let stored = expiring(30, &format!(r#",{OLD},"a":1,"b":1"#));
        let with = |minutes, stamp: &str| expiring(minutes, &format!(r#",{stamp},"a":2"#));
        let result = |minutes, stamp: &str| expiring(minutes, &format!(r#",{stamp},"a":2,"b":1"#));
        assert_eq!(merged(&[], &stored, &with(5, OLD)), result(5, OLD));
        assert_eq!(merged(&[], &stored, &with(50, OLD)), result(30, OLD));
        assert_eq!(merged(&[], &stored, &with(50, NEW)), result(50, NEW));
        // A stamp of the future is not believed.
        let parse = |json| Record::parse("t", json).unwrap();
        let written = with(50, NEW);
        let early = merge(&Bases::default(), &parse(&stored), &parse(&written), Some(0)).unwrap();
        assert_eq!(early, result(30, NEW));
        assert_eq!(
            merge(&Bases::default(), &parse(&stored), &parse(&written), None),
            None,
            "it needs the engine's clock"
        );
    }

    #[test]
    fn without_a_known_base_the_users_row_is_written_whole() {
        let stored = record(OLD, &format!(r#"{NEW},"role":"admin""#));
        let write = record(OLD, &format!(r#"{OLD},"role":"user""#));
        assert_eq!(merged(&[], &stored, &write), write);
    }

    #[test]
    fn stamps_decide_nothing_while_the_base_is_certain() {
        let base = record(OLD, &format!(r#"{NEW},"role":"admin","name":"a""#));
        let write = record(OLD, &format!(r#"{OLD},"role":"user","name":"a""#));
        assert_eq!(merged_now(&[&base], &base, &write), write);
        let renamed = record(OLD, &format!(r#"{NEW},"role":"admin","name":"b""#));
        let both = record(OLD, &format!(r#"{OLD},"role":"user","name":"b""#));
        assert_eq!(merged_now(&[&base], &renamed, &write), both);
    }

    #[test]
    fn each_half_has_a_base_of_its_own() {
        let first = record(&format!(r#"{OLD},"org":"a""#), &format!(r#"{OLD},"name":"a""#));
        let second = record(&format!(r#"{OLD},"org":"b""#), &format!(r#"{NEW},"name":"b""#));
        // The session half of the first reading, and a change of the second one's user.
        let write = record(&format!(r#"{OLD},"org":"a""#), &format!(r#"{NEW},"name":"c""#));
        let expected = record(&format!(r#"{OLD},"org":"b""#), &format!(r#"{NEW},"name":"c""#));
        assert_eq!(merged_now(&[&first, &second], &second, &write), expected);
    }

    #[test]
    fn the_times_decide_when_another_version_has_the_written_value_too() {
        let at = |day: u32, minutes, org: &str| {
            expiring(
                minutes,
                &format!(r#","updatedAt":"2026-01-{day:02}T00:00:00.000Z","org":"{org}""#),
            )
        };
        // Another writer has chosen the same organization, and a refresh or a shortening has come
        // between.
        for changed in [at(2, 50, "b"), at(1, 5, "b")] {
            let (read, write) = (at(1, 10, "a"), at(1, 10, "b"));
            assert_eq!(merged(&[&read, &changed], &changed, &write), changed);
            assert_eq!(merged_now(&[&read, &changed], &changed, &write), changed);
        }
    }

    #[test]
    fn a_session_half_from_before_a_refresh_does_not_undo_it() {
        let at = |day: u32, minutes| {
            expiring(minutes, &format!(r#","updatedAt":"2026-01-{day:02}T00:00:00.000Z""#))
        };
        let (start, refreshed) = (at(1, 10), at(2, 50));
        let earlier =
            Bases { earlier: vec![digest(&start)], is_certain: true, ..bases(&[&refreshed]) };
        for bases in [
            bases(&[&start, &refreshed]),
            earlier,
            Bases { is_certain: true, ..bases(&[&refreshed]) },
        ] {
            assert_eq!(merged_of(&bases, &refreshed, &start), refreshed);
        }
    }

    #[test]
    fn a_removed_field_is_removed_and_a_foreign_new_one_stays() {
        let base = record(&format!(r#"{OLD},"a":1"#), OLD);
        let stored = record(&format!(r#"{OLD},"a":1,"b":2"#), OLD);
        assert_eq!(
            merged(&[&base], &stored, &record(OLD, OLD)),
            record(&format!(r#"{OLD},"b":2"#), OLD)
        );
    }

    #[test]
    fn a_user_of_null_never_replaces_a_user() {
        let stored = record(OLD, OLD);
        let write = format!(r#"{{"session":{{"token":"t","userId":"u",{OLD}}},"user":null}}"#);
        assert_eq!(merged(&[&stored], &stored, &write), stored);
    }

    #[test]
    fn a_bare_session_over_better_auths_shape_keeps_the_user() {
        let stored = record(OLD, OLD);
        let merged = merged(&[&stored], &stored, &format!(r#"{{"token":"t","userId":"u",{NEW}}}"#));
        assert_eq!(merged, record(NEW, OLD));
    }

    #[test]
    fn of_two_changes_to_one_field_the_later_write_stands() {
        let base = record(OLD, &format!(r#"{OLD},"name":"a""#));
        let newer = record(OLD, &format!(r#"{NEW},"name":"c""#));
        let older = record(OLD, &format!(r#"{OLD},"name":"b""#));
        assert_eq!(merged_now(&[&base], &older, &newer), newer);
        assert_eq!(
            merged_now(&[&base], &newer, &older),
            record(OLD, &format!(r#"{NEW},"name":"b""#))
        );
    }

    #[test]
    fn a_patch_changes_the_session_half_only() {
        let json = record(OLD, OLD);
        let changes = Object::parse(r#"{"ip":"::1"}"#).unwrap();
        let patched = patch(&Record::parse("t", &json).unwrap(), &changes);
        assert_eq!(patched, record(&format!(r#"{OLD},"ip":"::1""#), OLD));
    }
}
