//! A session record without its text: of each field a hash, and the times. It tells which fields of another version differ.
//!
//! The hashes are keyed by the process, so nobody outside can choose two values with one hash. They never leave the process
//! for longer than a call.

use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;

use foldhash::quality::RandomState;

use super::{Object, Record, field, instant};

static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The hash of a value, the same for the life of the process.
pub(crate) fn hash_of(value: impl Hash) -> u64 {
    KEY.hash_one(value)
}

/// Both halves of a record.
#[derive(Debug, PartialEq)]
pub(crate) struct Digest {
    pub(super) session: HalfDigest,
    /// `None`: the record has no user half that is an object.
    pub(super) user: Option<HalfDigest>,
}

/// One half of a record: the session's own fields, or the user's.
#[derive(Debug, PartialEq)]
pub(crate) struct HalfDigest {
    /// Hashes of the name and of the value's text, in the order of the names' hashes.
    fields: Box<[(u64, u64)]>,
    /// In ms since the epoch.
    pub(super) updated_at: Option<i64>,
    /// In ms since the epoch; of the session only.
    pub(super) expires_at: Option<i64>,
}

impl Digest {
    pub(crate) fn of(record: &Record<'_>) -> Self {
        Digest { session: HalfDigest::of(record.session()), user: record.user().as_ref().map(HalfDigest::of) }
    }

    /// How much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let halves = [Some(&self.session), self.user.as_ref()];
        size_of::<Self>() + halves.into_iter().flatten().map(|half| size_of_val(&*half.fields)).sum::<usize>()
    }
}

impl HalfDigest {
    pub(super) fn of(half: &Object<'_>) -> Self {
        let mut fields: Box<[_]> = half.iter().map(|(name, raw)| (hash_of(&**name), hash_of(raw))).collect();
        fields.sort_unstable();
        let at = |name| half.get(name).and_then(instant);
        HalfDigest { fields, updated_at: at(field::UPDATED_AT), expires_at: at(field::EXPIRES_AT) }
    }

    /// Whether a field has this text; `None`: whether it is missing.
    pub(super) fn has(&self, name: &str, raw: Option<&str>) -> bool {
        let name = hash_of(name);
        let found = self.fields.binary_search_by_key(&name, |(name, _)| *name).ok().map(|at| self.fields[at].1);
        found == raw.map(hash_of)
    }

    /// How many fields differ from another version's, `times` apart.
    pub(super) fn differing(&self, other: &HalfDigest, times: &[&str]) -> usize {
        let times: Vec<_> = times.iter().map(hash_of).collect();
        let [only_here, only_there] = [(self, other), (other, self)].map(|(one, another)| {
            one.fields.iter().filter(|(name, raw)| {
                let value = another.fields.binary_search_by_key(name, |(name, _)| *name).map(|at| another.fields[at].1);
                !times.contains(name) && value != Ok(*raw)
            })
        });
        let removed = only_there.filter(|(name, _)| self.fields.binary_search_by_key(name, |(name, _)| *name).is_err());
        only_here.count() + removed.count()
    }

    /// One number for all fields.
    pub(crate) fn fingerprint(&self) -> u64 {
        hash_of(&self.fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(json: &str) -> HalfDigest {
        HalfDigest::of(&Object::parse(json).unwrap())
    }

    #[test]
    fn the_order_of_fields_does_not_count_and_their_text_does() {
        let digest = half(r#"{"a":1,"b":"x"}"#);
        assert_eq!(digest, half(r#"{"b":"x","a":1}"#));
        assert_eq!(digest.fingerprint(), half(r#"{"b":"x","a":1}"#).fingerprint());
        assert_ne!(digest.fingerprint(), half(r#"{"b":"x","a":2}"#).fingerprint());
        assert!(digest.has("a", Some("1")) && digest.has("c", None));
        assert!(!digest.has("a", Some("1.0")) && !digest.has("a", None));
    }

    #[test]
    fn changed_added_and_removed_fields_differ_and_times_do_not() {
        let digest = half(r#"{"a":1,"b":2,"updatedAt":1}"#);
        let differing = |json| half(json).differing(&digest, &["updatedAt"]);
        assert_eq!(differing(r#"{"a":1,"b":2,"updatedAt":2}"#), 0);
        assert_eq!(differing(r#"{"a":1,"b":3,"updatedAt":1}"#), 1);
        assert_eq!(differing(r#"{"a":1,"c":3}"#), 2);
        assert_eq!(differing(r#"{}"#), 2);
    }
}
