//! What a failure of the Redis client means to a caller.
//!
//! A server's answer may quote what it was asked, so its text never gets into a message: only its code does.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

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

/// The error to hand to the caller. `address` names the server, without credentials.
pub(super) fn error(error: &RedisError, address: &str) -> Error {
    let at = format!("Redis at {address}");
    match error.kind() {
        ErrorKind::Io | ErrorKind::InvalidClientConfig if is_tls(error) => tls(error, &at).caused_by(error),
        ErrorKind::Io => {
            Error::new(Code::Unavailable, format!("{at} cannot be reached: check that it runs and that url is right"))
                .caused_by(error)
        }
        ErrorKind::AuthenticationFailed => auth(&at),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => read_only(&at),
        ErrorKind::Server(ServerErrorKind::NoPerm) => Error::new(
            Code::Auth,
            format!("{at}: the user lacks a permission; its ACL must allow this store's key prefixes and commands"),
        ),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => Error::new(Code::Unavailable, format!("{at} is not ready to answer yet")),
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot) => Error::new(
            Code::Protocol,
            format!("{at} is part of a cluster: give its servers as option cluster, or as a redis-cluster:// URL"),
        ),
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
    } else if ["NOAUTH", "WRONGPASS", "invalid password", "without any password"].iter().any(|words| says(words)) {
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
    } else if says("unknown command") || says("Unknown Redis command") {
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

/// Which check of the handshake failed, as rustls words it.
fn tls(error: &RedisError, at: &str) -> Error {
    let text = error.to_string().to_lowercase();
    let checks = [
        (
            "unknownissuer",
            "its certificate is signed by an authority that is not trusted; give that authority's certificate as option tls.ca",
        ),
        ("not valid for name", "its certificate is for another name; connect by a name that it holds"),
        ("expired", "its certificate has expired, or a clock is wrong"),
        ("not valid yet", "its certificate is not valid yet, or a clock is wrong"),
        ("certificaterequired", "it asks for a client's certificate; give options tls.cert and tls.key"),
        ("unknownca", "it does not trust the client's certificate (option tls.cert)"),
        ("badcertificate", "it does not accept the client's certificate (option tls.cert)"),
        ("corrupt message", "it does not speak TLS on this port; use redis:// there, or its TLS port"),
    ];
    let check = checks.iter().find(|(words, _)| text.contains(words)).map(|(_, check)| *check);
    let check = check.unwrap_or("check the certificates, the CA (option tls.ca) and the host name");
    Error::new(Code::Tls, format!("the TLS handshake with {at} failed: {check}"))
}

/// The client hands a TLS failure on as a failure to read or write; only its text tells.
fn is_tls(error: &RedisError) -> bool {
    let text = error.to_string().to_lowercase();
    ["tls", "certificate", "fatal alert", "handshake", "corrupt message"].iter().any(|word| text.contains(word))
}
