//! What a failure of the Redis client means to a caller.
//!
//! A server's answer may quote what it was asked, so its text never gets into a message: only its code does.

use ::redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::tls;
use crate::engine::not_a_counter;
use crate::error::{Code, Error};

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// The connection is of no more use; whether the step was carried out is unknown.
    Lost,
    /// The server has become a replica, and refused.
    Demoted,
    /// The server refused for now: it loads its data, or waits for its primary.
    NotReady,
    /// The key lies on another server of the cluster, which the refusal names.
    Elsewhere,
    /// The answer is an answer.
    Other,
}

pub(super) fn kind(error: &RedisError) -> Kind {
    match error.kind() {
        _ if error.is_io_error() || error.is_unrecoverable_error() => Kind::Lost,
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Kind::Demoted,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => Kind::NotReady,
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => Kind::Elsewhere,
        _ if error.code() == Some("READONLY") => Kind::Demoted,
        _ => Kind::Other,
    }
}

/// Whether the server lacks HELLO, and so RESP3.
pub(super) fn is_resp3_refusal(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || error.detail().is_some_and(|answer| answer.contains("unknown command") && answer.contains("HELLO"))
}

/// Whether the server lacks the command, or has it disabled or renamed.
pub(super) fn is_unknown_command(error: &RedisError) -> bool {
    error.detail().is_some_and(is_unknown)
}

fn is_unknown(answer: &str) -> bool {
    answer.contains("unknown command") || answer.contains("Unknown Redis command")
}

/// Why a login failed. `first`: what the server said first; `is_plain`: whether it was asked over TCP without TLS.
pub(super) fn login(error: &RedisError, first: &[u8], is_plain: bool, address: &str) -> Error {
    /// An alert, in any version of TLS.
    const TLS_ALERT: &[u8] = &[0x15, 0x03];
    let at = format!("Redis at {address}");
    if let Some(error) = tls::late_handshake_error(error, address) {
        return error;
    }
    if first.starts_with(b"HTTP/") {
        let what = "what answers there speaks HTTP; give the host and port of Redis";
        Error::new(Code::Protocol, format!("{at} cannot be used: {what}"))
    } else if first.starts_with(TLS_ALERT) {
        Error::new(Code::Tls, format!("{at} expects TLS: use rediss:// in place of redis://, or option tls"))
    } else if first.starts_with(b"-DENIED") {
        let what = "is in protected mode: it has no password and refuses all but its own machine; give it a password \
            (requirepass), and that to the store";
        Error::new(Code::Auth, format!("{at} {what}"))
    } else if first.starts_with(b"-ERR max number of clients") {
        let what = "has as many clients as it allows (maxclients)";
        Error::new(Code::Unavailable, format!("{at} cannot be reached: it {what}"))
    } else if first.starts_with(b"-ERR AUTH <password> called without any password") {
        let what = "has no password, and one was given: remove it, or give the server one (requirepass)";
        Error::new(Code::Auth, format!("{at} {what}"))
    } else if error.kind() == ErrorKind::Io && first.is_empty() {
        let tls = if is_plain { "; a port that expects TLS (rediss://) does so" } else { "" };
        let what = format!("cannot be reached: it closes the connection without an answer{tls}");
        Error::new(Code::Unavailable, format!("{at} {what}")).caused_by(error)
    } else {
        self::error(error, address)
    }
}

/// The server is part of a cluster, and is not to be.
pub(super) fn in_cluster(address: &str) -> Error {
    let what = "is part of a cluster: give its servers as option cluster, or as a redis-cluster:// URL";
    Error::new(Code::Protocol, format!("Redis at {address} {what}"))
}

/// The server is none.
pub(super) fn a_sentinel(address: &str) -> Error {
    let what = "is a sentinel: give it as option sentinels, or as a redis-sentinel:// URL";
    Error::new(Code::InvalidArgument, format!("Redis at {address} {what}"))
}

/// Of the answer to EVALSHA or EVAL: that the server has no scripts, or none for this user.
pub(super) fn without_scripts(answer: &Value, address: &str) -> Option<Error> {
    let Value::ServerError(error) = answer else { return None };
    let need = "sessions are kept by Lua scripts (EVALSHA, EVAL), because nothing else changes a session and its index together";
    if error.code() == "NOPERM" {
        let what = format!("the user lacks a permission; {need}: allow both in its ACL (docs/security.md)");
        return Some(Error::new(Code::Auth, format!("Redis at {address}: {what}")));
    }
    error.details().is_some_and(is_unknown).then(|| {
        let what = format!("has no scripts, or these commands disabled or renamed; {need}");
        Error::new(Code::Protocol, format!("Redis at {address} {what}"))
    })
}

/// The error to hand to the caller. `address` names the server, without credentials.
pub(super) fn error(error: &RedisError, address: &str) -> Error {
    let at = format!("Redis at {address}");
    match error.kind() {
        ErrorKind::Io => {
            Error::new(Code::Unavailable, format!("{at} cannot be reached: check that it runs and that url is right"))
                .caused_by(error)
        }
        ErrorKind::AuthenticationFailed => auth(&at),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => read_only(&at),
        ErrorKind::Server(ServerErrorKind::NoPerm) => Error::new(
            Code::Auth,
            format!(
                "{at}: the user lacks a permission; its ACL must allow this store's key prefixes and commands (docs/security.md)"
            ),
        ),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => Error::new(Code::Unavailable, format!("{at} is not ready to answer yet")),
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot) => {
            in_cluster(address)
        }
        _ => by_answer(error, &at),
    }
}

/// Errors that only the text of the server's answer tells apart.
fn by_answer(error: &RedisError, at: &str) -> Error {
    let answer = format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let says = |words: &str| answer.contains(words);
    if says("OOM") {
        let what = "is at maxmemory: give it more, or end sessions; what was there before is untouched";
        Error::new(Code::OutOfMemory, format!("{at} {what}"))
    } else if says("NOAUTH") {
        let what = "asks for a password: give it in url, or as option password";
        Error::new(Code::Auth, format!("{at} {what}"))
    } else if says("WRONGPASS") || says("invalid password") {
        auth(at)
    } else if says("READONLY") {
        read_only(at)
    } else if says("WRONGTYPE") {
        let what = "a key under this store's prefixes holds another type: another program writes there; give the store its own";
        Error::new(Code::Protocol, format!("{at}: {what}"))
    } else if says("not an integer") || says("overflow") {
        not_a_counter()
    } else if says("DB index") {
        Error::new(Code::InvalidArgument, format!("db: {at} has no database of this number"))
    } else if is_unknown(&answer) {
        Error::new(Code::Protocol, format!("{at} lacks a command that the store needs, or has it disabled or renamed"))
    } else {
        Error::new(
            Code::Protocol,
            format!("the server at {address} did not answer as Redis 6.2 or later does", address = &at[9..]),
        )
    }
}

fn auth(at: &str) -> Error {
    Error::new(Code::Auth, format!("{at} refused the user name or password: check url, username and password"))
}

pub(super) fn read_only(at: &str) -> Error {
    Error::new(Code::ReadOnly, format!("{at} is a read-only replica: connect to its primary"))
}

/// The servers of a cluster went on sending a step to one another.
pub(super) fn astray(address: &str) -> Error {
    let what =
        "the cluster's servers do not agree which of them holds a key; CLUSTER SLOTS tells what each of them knows";
    Error::new(Code::Unavailable, format!("Redis at {address} sent on what it was sent: {what}"))
}
