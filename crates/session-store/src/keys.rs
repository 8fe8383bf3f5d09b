//! What the keys of Better Auth are: how long they may be, and which families of them it reserves.
//! JavaScript has these facts from here (`src/facts.rs`).

/// The longest key, token or user id, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 4096;

/// The longest token of a session, in bytes. Better Auth's have 32.
pub(crate) const MAX_TOKEN_BYTES: usize = 512;

/// Better Auth's own list of a user's sessions lies under `active-sessions-<user>`. This store
/// composes it from the user's index. Where another store left a real one, the engine folds it into
/// the index.
pub const SESSION_LIST_PREFIX: &str = "active-sessions-";

/// A user's not-before marker lies under `revoked-sessions-before-<user>`: the time of the user's
/// last "revoke all", in ms since the epoch. Better Auth 1.7.16+ reads it after every session.
pub const NOT_BEFORE_PREFIX: &str = "revoked-sessions-before-";

/// What the keys begin with under which Better Auth 1.3 to 1.7 stores something else than a
/// session: every `secondaryStorage` call in `better-auth/dist` (db/internal-adapter,
/// plugins/api-key), `@better-auth/core/dist` (oauth2/dpop) and `@better-auth/api-key/dist`. (The
/// keys of its rate limits begin with an IP address.)
pub(crate) const RESERVED: [&str; 5] =
    [SESSION_LIST_PREFIX, NOT_BEFORE_PREFIX, "verification:", "api-key:", "dpop-proof:"];
