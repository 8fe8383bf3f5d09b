//! A JSON object whose members keep the text they were written in, and their order. Parsing it and
//! looking up its members takes time in proportion to its length, whatever its content.

use std::borrow::Cow;
use std::fmt;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of one JSON object: unescaped name, and the value's text as it was written.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Object<'a>(IndexMap<Cow<'a, str>, &'a str, RandomState>);

impl<'a> Object<'a> {
    /// The object in `json`, if it is one.
    pub(crate) fn parse(json: &'a str) -> Option<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let object =
            ObjectVisitor { expected: (json.len() / MEMBER_BYTES).min(MAX_RESERVED_MEMBERS) }
                .deserialize(&mut deserializer)
                .ok()?;
        deserializer.end().ok().map(|()| object)
    }

    /// The text of a member's value.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    /// A member that is a JSON string, unescaped.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let raw = self.get(name)?;
        let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') {
            serde_json::from_str(raw).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(inner))
        }
    }

    /// A member that is an id: a text that is not empty, or a whole number (serial ids) as its
    /// digits.
    pub(crate) fn id(&self, name: &str) -> Option<String> {
        let raw = self.get(name)?;
        match self.text(name) {
            Some(text) => (!text.is_empty()).then(|| text.into_owned()),
            None => raw.parse::<i64>().ok().map(|number| number.to_string()),
        }
    }

    /// The members in the order they were written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Cow<'a, str>, &'a str)> {
        self.0.iter().map(|(name, raw)| (name, *raw))
    }

    /// Appends a member, or replaces the value of the one that has this name.
    pub(crate) fn set(&mut self, name: Cow<'a, str>, raw: &'a str) {
        self.0.insert(name, raw);
    }

    /// The object as JSON.
    pub(crate) fn to_json(&self) -> String {
        let size: usize = self.0.iter().map(|(name, raw)| name.len() + raw.len() + 4).sum();
        let mut json = String::with_capacity(size + 2);
        json.push('{');
        for (i, (name, raw)) in self.0.iter().enumerate() {
            if i > 0 {
                json.push(',');
            }
            json.push_str(&serde_json::to_string(name).expect("a string is always JSON"));
            json.push(':');
            json.push_str(raw);
        }
        json.push('}');
        json
    }
}

/// How long a member is as a rule, in bytes.
const MEMBER_BYTES: usize = 32;

/// For how many members memory is reserved at most, before they are read.
const MAX_RESERVED_MEMBERS: usize = 28;

/// Reads an object that probably has `expected` members.
struct ObjectVisitor {
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object =
            Object(IndexMap::with_capacity_and_hasher(self.expected, RandomState::default()));
        while let Some(name) = map.next_key::<Name<'de>>()? {
            // JSON.parse keeps the last of two members with one name; so does `set`.
            object.set(name.0, map.next_value::<&'de RawValue>()?.get());
        }
        Ok(object)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
pub(super) struct Name<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_order_survive() {
        let json = r#"{"b":1.50,"a":{"x": [1, 2]},"né\"":"\u00e9"}"#;
        let object = Object::parse(json).unwrap();
        assert_eq!(object.get("b"), Some("1.50"));
        assert_eq!(object.get("a"), Some(r#"{"x": [1, 2]}"#));
        assert_eq!(object.text("né\"").as_deref(), Some("é"));
        assert_eq!(object.to_json(), json);
    }

    #[test]
    fn a_replaced_member_keeps_its_place() {
        let mut object = Object::parse(r#"{"a":1,"b":2,"c":3}"#).unwrap();
        object.set("b".into(), "4");
        object.set("d".into(), "5");
        assert_eq!(object.to_json(), r#"{"a":1,"b":4,"c":3,"d":5}"#);
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        assert_eq!(Object::parse(r#"{"a":1,"a":2}"#).unwrap().get("a"), Some("2"));
    }
}
