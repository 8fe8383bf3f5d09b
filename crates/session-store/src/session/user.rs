//! The user half of a record, or the user's row in the database, which has the same fields.

use super::digest::HalfDigest;
use super::field;
use super::object::Object;
use super::record::instant;

/// The user half of a record, or a row.
pub(crate) struct User<'a> {
    object: Object<'a>,
    /// The text.
    pub(crate) json: &'a str,
}

impl<'a> User<'a> {
    /// `None`: it is no JSON object.
    pub(crate) fn parse(json: &'a str) -> Option<Self> {
        Object::parse(json).map(|object| User { object, json })
    }

    /// One number for all fields, whatever their order.
    pub(crate) fn fingerprint(&self) -> u64 {
        HalfDigest::of(&self.object).fingerprint()
    }

    pub(crate) fn id(&self) -> Option<String> {
        self.object.id("id")
    }

    /// In ms since the epoch.
    pub(crate) fn updated_at(&self) -> Option<i64> {
        self.object.get(field::UPDATED_AT).and_then(instant)
    }

    /// Whether both are the same user: id and `createdAt` are equal.
    pub(crate) fn is_same_user(&self, other: &User<'_>) -> bool {
        let created_at = |user: &User<'_>| user.object.get(field::CREATED_AT).and_then(instant);
        self.id().is_some() && self.id() == other.id() && created_at(self) == created_at(other)
    }
}
