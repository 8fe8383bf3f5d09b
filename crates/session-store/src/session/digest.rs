//! A session record without its text: a hash of each field, and the times. It shows which fields of
//! another version differ.
//!
//! The hashes are keyed by the process, so a client cannot choose two values with one hash. They
//! never leave the process for longer than a call.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;

use foldhash::quality::RandomState;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::field;
use super::object::{Name, Object};
use super::record::{Record, instant};

static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The hash of a value, the same for the life of the process.
pub(crate) fn hash_of(value: impl Hash) -> u64 {
    KEY.hash_one(value)
}

/// A session half's `updatedAt` and `expiresAt`, in ms since the epoch.
pub(crate) type Times = (Option<i64>, Option<i64>);

/// Both halves of a record.
#[derive(Debug, PartialEq)]
pub(crate) struct Digest {
    pub(crate) session: HalfDigest,
    /// `None`: the record has no user half that is an object.
    pub(super) user: Option<HalfDigest>,
}

/// One half of a record: the session's own fields, or the user's.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct HalfDigest {
    /// Hashes of the name and of the value's text, in the order of the names' hashes.
    fields: Box<[(u64, u64)]>,
    /// In ms since the epoch.
    pub(super) updated_at: Option<i64>,
    /// In ms since the epoch; of the session only.
    pub(super) expires_at: Option<i64>,
}

impl Digest {
    /// Of the record in `json`, if `json` is the session record of `token`.
    pub(crate) fn parse(token: &str, json: &str) -> Option<Self> {
        Self::parse_nested(token, json)
            .or_else(|| Record::parse(token, json).as_ref().map(Self::of))
    }

    /// As [`Digest::parse`] of a record in Better Auth's shape, in one pass. `None`: use
    /// [`Record::parse`] instead.
    fn parse_nested(token: &str, json: &str) -> Option<Self> {
        let Halves { session: Some(session), user } = serde_json::from_str(json).ok()? else {
            return None;
        };
        let user = user.unwrap_or_default();
        let is_own = session.token.is_some_and(|raw| raw[1..raw.len() - 1] == *token);
        (is_own && session.is_plain && user.is_plain)
            .then(|| Digest { session: session.half, user: user.is_object.then_some(user.half) })
    }

    pub(crate) fn of(record: &Record<'_>) -> Self {
        Digest {
            session: HalfDigest::of(record.session()),
            user: record.user().as_ref().map(HalfDigest::of),
        }
    }

    /// How much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let halves = [Some(&self.session), self.user.as_ref()];
        size_of::<Self>()
            + halves.into_iter().flatten().map(|half| size_of_val(&*half.fields)).sum::<usize>()
    }
}

impl HalfDigest {
    pub(super) fn of(half: &Object<'_>) -> Self {
        let mut fields: Box<[_]> =
            half.iter().map(|(name, raw)| (hash_of(&**name), hash_of(raw))).collect();
        fields.sort_unstable();
        let at = |name| half.get(name).and_then(instant);
        HalfDigest { fields, updated_at: at(field::UPDATED_AT), expires_at: at(field::EXPIRES_AT) }
    }

    pub(crate) fn times(&self) -> Times {
        (self.updated_at, self.expires_at)
    }

    /// Whether a field has this text; `None`: whether it is missing.
    pub(super) fn has(&self, name: &str, raw: Option<&str>) -> bool {
        let name = hash_of(name);
        let found = self
            .fields
            .binary_search_by_key(&name, |(name, _)| *name)
            .ok()
            .map(|at| self.fields[at].1);
        found == raw.map(hash_of)
    }

    /// How many fields differ from another version's, `times` apart.
    pub(super) fn differing(&self, other: &HalfDigest, times: &[&str]) -> usize {
        let times: Vec<_> = times.iter().map(hash_of).collect();
        let [only_here, only_there] = [(self, other), (other, self)].map(|(one, another)| {
            one.fields.iter().filter(|(name, raw)| {
                let value = another
                    .fields
                    .binary_search_by_key(name, |(name, _)| *name)
                    .map(|at| another.fields[at].1);
                !times.contains(name) && value != Ok(*raw)
            })
        });
        let removed = only_there
            .filter(|(name, _)| self.fields.binary_search_by_key(name, |(name, _)| *name).is_err());
        only_here.count() + removed.count()
    }

    /// One number for all fields.
    pub(crate) fn fingerprint(&self) -> u64 {
        hash_of(&self.fields)
    }
}

/// What [`Digest::parse_nested`] reads: the members `session` and `user`.
#[derive(serde::Deserialize)]
struct Halves<'a> {
    #[serde(borrow)]
    session: Option<ParsedHalf<'a>>,
    #[serde(borrow)]
    user: Option<ParsedHalf<'a>>,
}

/// A half as it was parsed from a text.
struct ParsedHalf<'a> {
    half: HalfDigest,
    /// The text of the member `token`, if that is a string.
    token: Option<&'a str>,
    /// Whether no member is there twice.
    is_plain: bool,
    is_object: bool,
}

impl Default for ParsedHalf<'_> {
    fn default() -> Self {
        ParsedHalf { half: HalfDigest::default(), token: None, is_plain: true, is_object: false }
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for ParsedHalf<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HalfVisitor;
        impl<'de> Visitor<'de> for HalfVisitor {
            type Value = ParsedHalf<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object or null")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(ParsedHalf::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut parsed = ParsedHalf { is_object: true, ..ParsedHalf::default() };
                let mut fields = Vec::with_capacity(16);
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    let raw = map.next_value::<&'de RawValue>()?.get();
                    match &*name.0 {
                        field::TOKEN if raw.starts_with('"') => parsed.token = Some(raw),
                        field::UPDATED_AT => parsed.half.updated_at = instant(raw),
                        field::EXPIRES_AT => parsed.half.expires_at = instant(raw),
                        _ => {}
                    }
                    fields.push((hash_of(&*name.0), hash_of(raw)));
                }
                fields.sort_unstable();
                parsed.is_plain = fields.windows(2).all(|pair| pair[0].0 != pair[1].0);
                parsed.half.fields = fields.into();
                Ok(parsed)
            }
        }
        deserializer.deserialize_any(HalfVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(json: &str) -> HalfDigest {
        HalfDigest::of(&Object::parse(json).unwrap())
    }

    #[test]
    fn parsing_in_one_pass_gives_the_same_digest() {
        let session = r#""token":"t","userId":"u","updatedAt":"2026-01-01T00:00:00.000Z","expiresAt":1893456000000"#;
        for (is_plain, json) in [
            (true, format!(r#"{{"session":{{{session}}},"user":{{"id":"u","updatedAt":5}}}}"#)),
            (
                true,
                format!(r#"{{"user":null,"more":[{{}}],"session":{{{session},"x":{{"y": 1}}}}}} "#),
            ),
            (true, format!(r#"{{"session":{{{session}}}}}"#)),
            (false, format!(r#"{{"session":{{{session},"token":"t"}},"user":{{}}}}"#)),
            (false, format!(r#"{{"session":{{{session}}},"user":{{"a":1,"a":2}}}}"#)),
            (false, format!(r#"{{"session":{{{session}}},"user":7}}"#)),
            (false, format!(r#"{{{session},"session":"text","user":{{"id":"u"}}}}"#)),
            (false, format!(r#"{{{session}}}"#)),
        ] {
            let one_pass = Digest::parse_nested("t", &json);
            assert_eq!(one_pass.is_some(), is_plain, "{json}");
            let whole = Digest::of(&Record::parse("t", &json).unwrap());
            assert_eq!(Digest::parse("t", &json), Some(whole), "{json}");
        }
        assert_eq!(Digest::parse("other", &format!(r#"{{"session":{{{session}}}}}"#)), None);
        assert_eq!(Digest::parse("t", "{}"), None);
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
