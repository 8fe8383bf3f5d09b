//! Whose session record a value is, where a script cannot tell for certain and leaves it to Rust.
//!
//! The script answers the value and changes nothing. It is called again with the value and its
//! owner, and acts only if the key still holds that value (scripts/lib/owner.lua).

use super::scripts::{NOTHING, ScriptInvocation};
use crate::session::Record;
use crate::value::Stored;

/// A value whose owner Rust has read: `known_value` and `known_owner` of `scripts/lib/owner.lua`.
pub(super) struct KnownOwner {
    value: Vec<u8>,
    /// A user's id; empty: the value is no session record.
    user: String,
}

impl KnownOwner {
    /// Before a script has left any value to Rust.
    pub(super) fn none() -> Self {
        KnownOwner { value: NOTHING.to_vec(), user: String::new() }
    }

    /// Reads whose session record this value of `id` is. `None`: it is a record of another
    /// application.
    pub(super) fn read(id: &str, value: Vec<u8>) -> Option<Self> {
        let Ok(stored) = Stored::from_bytes(value.clone()) else {
            return Some(KnownOwner { user: String::new(), value });
        };
        if stored.is_record_of_another(id) {
            return None;
        }
        let record = Record::parse(id, stored.text());
        Some(KnownOwner { user: record.map(|record| record.user_id).unwrap_or_default(), value })
    }

    pub(super) fn add_to(&self, call: &mut ScriptInvocation<'_>) {
        call.arg(self.value.as_slice()).arg(&self.user);
    }
}
