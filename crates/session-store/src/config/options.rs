//! The table of options: one row each, with its name, its kind and range, its default and where
//! docs/options.md describes it.
//!
//! Everything else takes these facts from here: the reader its ranges and defaults, the
//! suggestions for an unknown option their names. A test holds docs/options.md to the table, and
//! `__test__/docs/options.test.js` holds the TypeScript types to docs/options.md.
//! CONTRIBUTING.md says how to add an option.

use std::ops::RangeInclusive;

/// One option, or one member of an option that is an object.
pub(super) struct OptionRow {
    /// As JavaScript spells it.
    pub(super) name: &'static str,
    pub(super) kind: OptionKind,
    pub(super) default: Fallback,
    /// The heading of docs/options.md whose table describes it.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test looks for the row there"))]
    pub(super) docs: &'static str,
}

/// What an option may be.
pub(super) enum OptionKind {
    /// A whole number that counts something.
    Count(RangeInclusive<u64>),
    /// A whole number of milliseconds.
    Ms(RangeInclusive<u64>),
    /// A whole number of seconds.
    Seconds(RangeInclusive<u64>),
    /// A whole number of bytes.
    Bytes(RangeInclusive<u64>),
    /// A text.
    Text,
    /// A text whose length in bytes of UTF-8 lies in a range.
    TextOfBytes(RangeInclusive<u64>),
    /// `true` or `false`.
    Boolean,
    /// Anything else. It has a reader of its own.
    Other,
}

/// What holds when an option is not given.
pub(super) enum Fallback {
    Integer(u64),
    Text(&'static str),
    Boolean(bool),
    /// There is no such value: the option is off, required, or follows another one.
    None,
}

use Fallback::{Boolean as Flag, Integer, None as Nothing, Text as Word};
use OptionKind::{Boolean, Bytes, Count, Ms, Other, Seconds, Text, TextOfBytes};

const fn row(
    name: &'static str,
    kind: OptionKind,
    default: Fallback,
    docs: &'static str,
) -> OptionRow {
    OptionRow { name, kind, default, docs }
}

const WHERE: &str = "Where Redis is";
const LOGIN: &str = "Login and TLS";
const TIME: &str = "Time and load";
const SESSIONS: &str = "Sessions";
const OUTAGES: &str = "Outages";

/// The port of a server that is named without one.
pub(super) const DEFAULT_PORT: u16 = 6379;
/// The port of a sentinel that is named without one.
pub(super) const DEFAULT_SENTINEL_PORT: u16 = 26_379;

const TIMEOUTS_MS: RangeInclusive<u64> = 1..=600_000;
const HEARTBEATS_MS: RangeInclusive<u64> = 10..=60_000;
/// Linux refuses a keep-alive time above 32,767 seconds, and the connection with it.
const KEEP_ALIVES_MS: RangeInclusive<u64> = 0..=32_767_000;
const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;

/// Every option of a store that the core reads. Of two names that are equally like an unknown one,
/// the later is suggested.
#[rustfmt::skip]
pub(super) static OPTIONS: &[OptionRow] = &[
    row("url", Text, Nothing, WHERE),
    row("host", Text, Nothing, WHERE),
    row("port", Count(1..=65_535), Integer(DEFAULT_PORT as u64), WHERE),
    row("path", Text, Nothing, WHERE),
    row("cluster", Other, Nothing, WHERE),
    row("natMap", Other, Nothing, WHERE),
    row("sentinels", Other, Nothing, WHERE),
    row("name", Text, Word("mymaster"), WHERE),

    row("sentinelUsername", Text, Nothing, LOGIN),
    row("sentinelPassword", Text, Nothing, LOGIN),
    row("sentinelTLS", Boolean, Nothing, LOGIN),
    row("username", Text, Nothing, LOGIN),
    row("password", Text, Nothing, LOGIN),
    row("credentials", Other, Nothing, LOGIN),
    row("db", Count(0..=65_535), Integer(0), WHERE),
    row("tls", Other, Nothing, LOGIN),

    row("connectTimeout", Ms(TIMEOUTS_MS), Integer(10_000), TIME),
    row("commandTimeout", Ms(TIMEOUTS_MS), Integer(2_000), TIME),
    row("slowMs", Ms(TIMEOUTS_MS), Integer(100), TIME),
    row("failFastMs", Ms(TIMEOUTS_MS), Integer(250), TIME),
    row("reconnectMinMs", Ms(TIMEOUTS_MS), Integer(50), TIME),
    row("reconnectMaxMs", Ms(TIMEOUTS_MS), Integer(800), TIME),
    row("maxInFlight", Count(1..=10_000_000), Integer(50_000), TIME),
    row("heartbeatMs", Ms(HEARTBEATS_MS), Integer(1_000), TIME),
    row("keepAlive", Ms(KEEP_ALIVES_MS), Integer(30_000), TIME),
    row("connectionName", Text, Word("better-auth-redis-store"), WHERE),

    row("keyPrefix", TextOfBytes(1..=256), Word("session:"), SESSIONS),
    row("userPrefix", TextOfBytes(1..=256), Word("user-sessions:"), SESSIONS),
    row("tombstoneSeconds", Seconds(1..=86_400), Integer(300), SESSIONS),
    row("maxValueBytes", Bytes(KIB..=512 * MIB), Integer(8 * MIB), SESSIONS),
    row("maxSessionsPerUser", Count(1..=u32::MAX as u64), Nothing, SESSIONS),
    row("nearCache", Other, Flag(true), SESSIONS),

    row("revoke", Other, Nothing, OUTAGES),
    row("onUnavailable", Other, Word("reject"), OUTAGES),
    row("storeSessionInDatabase", Boolean, Flag(false), OUTAGES),
];

/// The members of the option `nearCache`.
#[rustfmt::skip]
pub(super) static NEAR_CACHE: &[OptionRow] = &[
    row("maxBytes", Bytes(64 * KIB..=64 * 1_024 * MIB), Integer(32 * MIB), "`nearCache`"),
    row("ttlMs", Ms(1..=24 * 3_600_000), Integer(60_000), "`nearCache`"),
    row("maxStalenessMs", Ms(100..=180_000), Integer(3_000), "`nearCache`"),
    row("heartbeatMs", Ms(HEARTBEATS_MS), Nothing, "`nearCache`"),
];

/// The members of the option `revoke`.
#[rustfmt::skip]
pub(super) static REVOKE: &[OptionRow] = &[
    row("waitReplicas", Count(1..=100), Nothing, "`revoke`"),
    row("timeoutMs", Ms(1..=60_000), Integer(500), "`revoke`"),
];

/// The members of the option `tls`.
#[rustfmt::skip]
pub(super) static TLS: &[OptionRow] = &[
    row("ca", Other, Nothing, "`tls`"),
    row("cert", Other, Nothing, "`tls`"),
    row("key", Other, Nothing, "`tls`"),
    row("servername", Text, Nothing, "`tls`"),
    row("minVersion", Other, Word("TLSv1.2"), "`tls`"),
    row("dangerouslyDisableVerification", Boolean, Flag(false), "`tls`"),
];

/// The row of a name.
///
/// # Panics
/// When there is none: each name stands in the code, and every option is read for every store.
pub(super) fn row_in(table: &'static [OptionRow], name: &str) -> &'static OptionRow {
    let row = table.iter().find(|row| row.name == name);
    row.unwrap_or_else(|| panic!("{name} has no row in config/options.rs"))
}

/// Whether a store has an option of this name.
pub(super) fn is_option(name: &str) -> bool {
    OPTIONS.iter().any(|row| row.name == name)
}

/// The names of a table for a message, each separated from the next by `, `, the last by `last`.
pub(super) fn names(table: &[OptionRow], last: &str) -> String {
    let names: Vec<&str> = table.iter().map(|row| row.name).collect();
    match names.split_last() {
        Some((end, others)) if !others.is_empty() => format!("{}{last}{end}", others.join(", ")),
        _ => names.concat(),
    }
}

impl OptionRow {
    /// The range of a whole number, or of a text's length.
    ///
    /// # Panics
    /// When the option is something else.
    pub(super) fn range(&self) -> &RangeInclusive<u64> {
        match &self.kind {
            Count(range) | Ms(range) | Seconds(range) | Bytes(range) | TextOfBytes(range) => range,
            Text | Boolean | Other => panic!("{} has no range", self.name),
        }
    }

    /// The whole number that holds when the option is not given.
    ///
    /// # Panics
    /// When there is none.
    pub(super) fn default_integer(&self) -> u64 {
        match self.default {
            Integer(integer) => integer,
            _ => panic!("{} has no number as default", self.name),
        }
    }

    /// Whether it holds when the option is not given.
    ///
    /// # Panics
    /// When the default is something else.
    pub(super) fn default_boolean(&self) -> bool {
        match self.default {
            Flag(boolean) => boolean,
            _ => panic!("{} has no boolean as default", self.name),
        }
    }

    /// The text that holds when the option is not given.
    ///
    /// # Panics
    /// When there is none.
    pub(super) fn default_text(&self) -> &'static str {
        match self.default {
            Word(text) => text,
            _ => panic!("{} has no text as default", self.name),
        }
    }
}
