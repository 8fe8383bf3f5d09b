//! What a session record is: JSON whose token is its own key, in Better Auth's shape or in the
//! guide's.
//!
//! Better Auth stores `{"session":{…},"user":{…}}`, the guide's own code the bare session. A value
//! is a session record when it is one of the two and its `token` equals the key it is stored under:
//! decided by the value, never by the key's form. The text of every field is kept as it was
//! written; nothing is re-serialised that was not changed.

mod digest;
mod field;
mod merge;
mod object;
mod record;
mod user;

pub(crate) use digest::{Digest, Times, hash_of};
pub(crate) use merge::{Bases, is_stale, merge, patch, replace, with_user};
pub(crate) use object::Object;
pub(crate) use record::Record;
pub(crate) use user::User;
