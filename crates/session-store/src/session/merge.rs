//! How a write is put together with what lies in the store.
//!
//! Better Auth reads a session, changes it and writes the whole back. So a field that equals what the writer was served
//! was not changed by it and keeps the stored value; a field that differs was changed and is written. `updatedAt` and
//! `expiresAt` never go back. The user half comes from the database whole, so of two with different `updatedAt` the newer
//! stands whole. A writer whose reading is unknown wins or loses by whole halves (`session`, `user`): the newer `updatedAt`
//! wins, a tie keeps the stored one.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Object, Record, Shape, field, instant};

/// The two halves of a record, and with them which rules its times follow.
#[derive(Clone, Copy, PartialEq)]
enum Half {
    Session,
    User,
}

impl Half {
    /// Fields that only ever grow.
    fn rising(self) -> &'static [&'static str] {
        match self {
            Half::Session => &[field::UPDATED_AT, field::EXPIRES_AT],
            Half::User => &[field::UPDATED_AT],
        }
    }
}

/// What the writer of a record may have read, the latest last.
pub(crate) enum Bases<'r> {
    /// It was handed one of these just now; as a rule there is one.
    HandedNow(Vec<Record<'r>>),
    /// It was handed these at some time.
    HandedOnce(Vec<Record<'r>>),
}

/// The record to store when `write` arrives over `stored` from a writer that read one of `bases`. Borrowed when it is `write`
/// as it came.
pub(crate) fn merge<'w>(bases: &Bases<'_>, stored: &Record<'_>, write: &Record<'w>) -> Cow<'w, str> {
    let base = base_of(bases, write);
    let base_session = base.map(Record::session);
    match (&stored.shape, &write.shape) {
        (Shape::Flat(stored), Shape::Flat(written)) => {
            let merged = merge_half(Half::Session, base_session, stored, written);
            if merged == *written { Cow::Borrowed(write.json) } else { Cow::Owned(merged.to_json()) }
        }
        (Shape::Nested { outer: stored_outer, session: stored }, Shape::Nested { outer, session: written }) => {
            let session = merge_half(Half::Session, base_session, stored, written);
            let base_user = base.and_then(Record::user);
            let user = match (user_in(stored_outer), user_in(outer)) {
                (Some(stored), Some(written)) => Some(merge_half(Half::User, base_user.as_ref(), &stored, &written)),
                (stored, written) => written.or(stored),
            };
            if session == *written && user == user_in(outer) {
                return Cow::Borrowed(write.json);
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
            let session = merge_half(Half::Session, base_session, stored, written).to_json();
            let mut whole = outer.clone();
            whole.set(Cow::Borrowed(field::SESSION), &session);
            Cow::Owned(whole.to_json())
        }
        (Shape::Flat(_), Shape::Nested { .. }) => Cow::Borrowed(write.json),
    }
}

/// The record to store when a new session takes the place of `stored`: nothing of the old session stays, but the user that
/// Better Auth stored beside it does.
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

impl<'a> Record<'a> {
    fn user(&self) -> Option<Object<'a>> {
        match &self.shape {
            Shape::Nested { outer, .. } => user_in(outer),
            Shape::Flat(_) => None,
        }
    }
}

fn user_in<'a>(outer: &Object<'a>) -> Option<Object<'a>> {
    outer.get(field::USER).and_then(Object::parse)
}

fn merge_half<'a>(half: Half, base: Option<&Object<'a>>, stored: &Object<'a>, written: &Object<'a>) -> Object<'a> {
    let newer = at(written, field::UPDATED_AT).cmp(&at(stored, field::UPDATED_AT));
    match newer {
        Ordering::Greater if half == Half::User => return written.clone(),
        Ordering::Less if half == Half::User => return stored.clone(),
        _ => {}
    }
    let mut merged = match base {
        Some(base) => three_way(base, stored, written),
        None if newer == Ordering::Greater => written.clone(),
        None => stored.clone(),
    };
    for name in half.rising() {
        if let Some(raw) = stored.get(name)
            && at(stored, name) > at(&merged, name)
        {
            merged.set(Cow::Borrowed(name), raw);
        }
    }
    merged
}

fn three_way<'a>(base: &Object<'a>, stored: &Object<'a>, written: &Object<'a>) -> Object<'a> {
    // Both changed one field: the newer half's value stands; without a difference in time, the writer's.
    let stored_is_newer = at(stored, field::UPDATED_AT) > at(written, field::UPDATED_AT);
    let chosen = |name: &str| {
        let (base, stored, written) = (base.get(name), stored.get(name), written.get(name));
        let writer_changed = written != base;
        let store_changed = stored != base;
        if writer_changed && !(store_changed && stored_is_newer) { written } else { stored }
    };
    let mut merged = Object::default();
    for (name, _) in written.iter().chain(stored.iter()) {
        if let Some(raw) = chosen(name) {
            merged.set(name.clone(), raw);
        }
    }
    merged
}

/// The one that the writer most likely read: the latest, unless an older one explains the write by no more changes.
///
/// Of those handed once, an older one that leaves nothing to explain does not count: nobody writes back later just what was
/// read, but people do change things back to what they were. Times do not count as changes, for two writers may well choose
/// the same.
fn base_of<'b, 'r>(bases: &'b Bases<'r>, write: &Record<'_>) -> Option<&'b Record<'r>> {
    let (records, may_be_unchanged) = match bases {
        Bases::HandedNow(records) => (records, true),
        Bases::HandedOnce(records) => (records, false),
    };
    let (latest, older) = records.split_last()?;
    let mut best = (latest, changes(latest, write));
    for record in older.iter().rev() {
        let changes = changes(record, write);
        let explains = may_be_unchanged || changes > 0 || record.expires_at() != write.expires_at();
        if changes <= best.1 && explains {
            best = (record, changes);
        }
    }
    Some(best.0)
}

/// How many fields, times apart, a writer that had read `base` changed or removed to write `written`.
fn changes(base: &Record<'_>, written: &Record<'_>) -> usize {
    let user = base.user().zip(written.user()).map_or(0, |(base, written)| changed(Half::User, &base, &written));
    changed(Half::Session, base.session(), written.session()) + user
}

fn changed(half: Half, base: &Object<'_>, written: &Object<'_>) -> usize {
    let counts = |name: &str| !half.rising().contains(&name);
    let changed = written.iter().filter(|(name, raw)| counts(name) && base.get(name) != Some(raw)).count();
    let removed = base.iter().filter(|(name, _)| counts(name) && written.get(name).is_none()).count();
    changed + removed
}

fn at(object: &Object<'_>, name: &str) -> Option<i64> {
    object.get(name).and_then(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(session: &str, user: &str) -> String {
        format!(r#"{{"session":{{"token":"t","userId":"u",{session}}},"user":{{"id":"u",{user}}}}}"#)
    }

    fn merged(served: &[&str], stored: &str, write: &str) -> String {
        let parse = |json| Record::parse("t", json).unwrap();
        let bases = Bases::HandedOnce(served.iter().map(|json| parse(json)).collect());
        merge(&bases, &parse(stored), &parse(write)).into_owned()
    }

    const OLD: &str = r#""updatedAt":"2026-01-01T00:00:00.000Z""#;
    const NEW: &str = r#""updatedAt":"2026-01-02T00:00:00.000Z""#;

    #[test]
    fn a_write_that_changes_everything_it_says_is_kept_byte_for_byte() {
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
        let (a, b) = (record(&format!(r#"{OLD},"org":"a""#), OLD), record(&format!(r#"{OLD},"org":"b""#), OLD));
        assert_eq!(merged(&[&b], &b, &a), a);
        let (user, admin) =
            (record(OLD, &format!(r#"{NEW},"role":"user""#)), record(OLD, &format!(r#"{OLD},"role":"admin""#)));
        assert_eq!(merged(&[&admin], &admin, &user), user);
    }

    #[test]
    fn of_several_readings_the_likeliest_is_taken() {
        let read = record(&format!(r#"{OLD},"a":1,"b":1"#), OLD);
        let stored = record(&format!(r#"{OLD},"a":2,"b":1"#), OLD);
        let other = record(&format!(r#"{OLD},"a":1,"b":2"#), OLD);
        assert_eq!(merged(&[&read, &stored], &stored, &other), record(&format!(r#"{OLD},"a":2,"b":2"#), OLD));
        // A change back to what was read before, not a reading that was written back.
        assert_eq!(merged(&[&read, &stored], &stored, &read), read);
        let again = record(&format!(r#"{NEW},"a":1,"b":1"#), OLD);
        assert_eq!(merged(&[&read, &stored], &stored, &again), again);
        // A refresh of what was read before, to the very time that another refresh chose.
        let times = r#""updatedAt":"2026-01-02T00:00:00.000Z","expiresAt":"2026-02-02T00:00:00.000Z""#;
        let refreshed = record(&format!(r#"{times},"a":2,"b":1"#), OLD);
        let slow = record(&format!(r#"{times},"a":1,"b":1"#), OLD);
        assert_eq!(merged(&[&read, &stored, &refreshed], &refreshed, &slow), refreshed);
    }

    #[test]
    fn times_never_go_back() {
        let base = record(r#""expiresAt":"2026-01-01T00:00:00.000Z""#, OLD);
        let stored = record(r#""expiresAt":"2026-01-03T00:00:00.000Z""#, OLD);
        let write = record(r#""expiresAt":"2026-01-02T00:00:00.000Z""#, OLD);
        assert_eq!(merged(&[&base], &stored, &write), stored);
        assert_eq!(merged(&[], &stored, &write), stored);
        assert_eq!(merged(&[&base], &base, &write), write);
    }

    #[test]
    fn without_a_known_reading_the_newer_half_wins_and_a_tie_keeps_the_stored() {
        let stored = record(&format!(r#"{OLD},"a":1"#), &format!(r#"{NEW},"b":1"#));
        let write = record(&format!(r#"{NEW},"a":2"#), &format!(r#"{OLD},"b":2"#));
        assert_eq!(merged(&[], &stored, &write), record(&format!(r#"{NEW},"a":2"#), &format!(r#"{NEW},"b":1"#)));
        let tie = record(&format!(r#"{OLD},"a":2"#), &format!(r#"{NEW},"b":2"#));
        assert_eq!(merged(&[], &stored, &tie), stored);
    }

    #[test]
    fn a_removed_field_is_removed_and_a_foreign_new_one_stays() {
        let base = record(&format!(r#"{OLD},"a":1"#), OLD);
        let stored = record(&format!(r#"{OLD},"a":1,"b":2"#), OLD);
        assert_eq!(merged(&[&base], &stored, &record(OLD, OLD)), record(&format!(r#"{OLD},"b":2"#), OLD));
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
    fn of_two_changes_to_one_field_the_newer_half_stands() {
        let base = record(OLD, &format!(r#"{OLD},"name":"a""#));
        let newer = record(OLD, &format!(r#"{NEW},"name":"c""#));
        let older = record(OLD, &format!(r#"{OLD},"name":"b""#));
        assert_eq!(merged(&[&base], &newer, &older), newer);
        assert_eq!(merged(&[&base], &older, &newer), newer);
    }

    #[test]
    fn a_patch_changes_the_session_half_only() {
        let json = record(OLD, OLD);
        let changes = Object::parse(r#"{"ip":"::1"}"#).unwrap();
        let patched = patch(&Record::parse("t", &json).unwrap(), &changes);
        assert_eq!(patched, record(&format!(r#"{OLD},"ip":"::1""#), OLD));
    }
}
