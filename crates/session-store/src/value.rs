//! What is stored under a key: a session record, a tombstone, or another value.
//!
//! What must always hold: no value that a caller can write is a tombstone, and every value comes
//! back as it was written.

use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::session::Record;

/// What a tombstone begins with; a later version may append why and when the session was ended. Its
/// first byte is no UTF-8, so no text that a caller can write begins so.
pub(crate) const TOMBSTONE: &[u8] = b"\xffended";

/// How long a tombstone may be, in bytes.
pub(crate) const TOMBSTONE_BYTES: usize = 128;

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum KeyState {
    Absent,
    /// What an ended session leaves: absent to every reader.
    Tombstone,
    Value(Stored),
}

impl KeyState {
    /// Reads what an engine holds.
    pub(crate) fn from_bytes(bytes: Option<Vec<u8>>) -> Result<Self> {
        match bytes {
            None => Ok(KeyState::Absent),
            Some(bytes) if bytes.starts_with(TOMBSTONE) => Ok(KeyState::Tombstone),
            Some(bytes) => Stored::from_bytes(bytes).map(KeyState::Value),
        }
    }

    /// As [`KeyState::value`], borrowed.
    pub(crate) fn stored(&self) -> Option<&Stored> {
        match self {
            KeyState::Value(stored) => Some(stored),
            KeyState::Absent | KeyState::Tombstone => None,
        }
    }

    /// The value, if there is one that readers may see.
    pub(crate) fn value(self) -> Option<Stored> {
        match self {
            KeyState::Value(stored) => Some(stored),
            KeyState::Absent | KeyState::Tombstone => None,
        }
    }
}

/// A value as it is stored.
///
/// A session record that this store wrote, and therefore indexed, ends in one space more than its
/// JSON. A record without it was left by another store and is indexed when it is met. So that any
/// other value comes back as it was written, one that ends in a space is stored with one space
/// more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored(Arc<String>);

impl Stored {
    /// A session record, as it is stored once it is indexed.
    pub(crate) fn record(json: &str) -> Self {
        Stored(Arc::new([json, " "].concat()))
    }

    /// Any other value, as it is stored.
    pub(crate) fn plain(value: &str) -> Self {
        if value.ends_with(' ') {
            Stored::record(value)
        } else {
            Stored(Arc::new(value.to_owned()))
        }
    }

    /// Reads what an engine holds.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        match String::from_utf8(bytes) {
            Ok(raw) => Ok(Stored(Arc::new(raw))),
            Err(_) => Err(Error::new(
                Code::Protocol,
                "a value under this store's key prefix is not UTF-8 text: another program writes there; give it a prefix of its own",
            )),
        }
    }

    /// The value as its writer gave it.
    pub(crate) fn text(&self) -> &str {
        self.0.strip_suffix(' ').unwrap_or(&self.0)
    }

    /// The value as it is stored.
    pub(crate) fn raw(&self) -> &str {
        &self.0
    }

    /// Whether this store wrote it as a record, and so indexed it.
    pub(crate) fn is_indexed(&self) -> bool {
        self.0.ends_with(' ')
    }

    /// Whether it is the record of this token, and indexed.
    pub(crate) fn is_record_of(&self, token: &str) -> bool {
        self.is_record() && self.names(token)
    }

    /// Whether it is the record of another token: of an application whose key prefix is longer.
    pub(crate) fn is_record_of_another(&self, token: &str) -> bool {
        self.is_record() && !self.names(token)
    }

    /// Any other value that ends in a space ends in two.
    fn is_record(&self) -> bool {
        self.0.ends_with("} ")
    }

    /// Decoding costs more than reading does, and most records have their token near their start.
    fn names(&self, token: &str) -> bool {
        begins_as_record_of(token, self.text()) || Record::parse(token, self.text()).is_some()
    }
}

/// Whether the first text that is called `token` is this one and a member of the session itself: no
/// object begins or ends before it.
fn begins_as_record_of(token: &str, json: &str) -> bool {
    const NAME: &str = "\"token\":\"";
    let Some(at) = json.find(NAME) else { return false };
    let half = json[..at].strip_prefix("{\"session\":").unwrap_or(&json[..at]);
    let is_own =
        json[at + NAME.len()..].strip_prefix(token).is_some_and(|rest| rest.starts_with('"'));
    is_own && half.starts_with('{') && !half[1..].contains(['{', '}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_as_it_was_written() {
        for value in ["", " ", "a", "a ", "a  ", "{} "] {
            assert_eq!(Stored::plain(value).text(), value);
            assert_eq!(Stored::record(value).text(), value);
        }
    }

    #[test]
    fn a_value_that_is_no_record_belongs_to_no_application() {
        for value in [
            "",
            "5",
            " ",
            "{}",
            r#"{"token":"b:t","userId":"u"}"#,
            r#"{"token":"b:t","userId":"u"} "#,
        ] {
            let stored = Stored::plain(value);
            assert!(!stored.is_record_of("t") && !stored.is_record_of_another("t"), "{value}");
        }
    }

    #[test]
    fn a_tombstone_is_no_text() {
        assert!(String::from_utf8(TOMBSTONE.to_vec()).is_err());
        for more in ["", " ", ":1893456000000:admin"] {
            let tombstone = [TOMBSTONE, more.as_bytes()].concat();
            assert_eq!(
                KeyState::from_bytes(Some(tombstone)).unwrap(),
                KeyState::Tombstone,
                "{more}"
            );
        }
    }

    #[test]
    fn a_foreign_binary_value_is_an_error_and_not_a_missing_one() {
        assert_eq!(KeyState::from_bytes(Some(vec![0xff])).unwrap_err().code, Code::Protocol);
    }
}
