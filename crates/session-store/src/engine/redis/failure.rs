//! What a failure of the Redis client means to a caller.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::{Code, Error};

/// Whether the connection that this happened on is of no more use.
pub(super) fn is_lost_connection(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error()
}

/// The error to hand to the caller. `address` names the server, without credentials.
pub(super) fn error(error: &RedisError, address: &str) -> Error {
    let (code, message) = match error.kind() {
        ErrorKind::AuthenticationFailed => auth(address),
        ErrorKind::Io if is_tls(error) => (
            Code::Tls,
            format!(
                "the TLS handshake with Redis at {address} failed: check the certificate, its CA (option tls.ca) and the host name"
            ),
        ),
        ErrorKind::Io => (
            Code::Unavailable,
            format!("Redis at {address} cannot be reached: check that it runs and that url is right"),
        ),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            (Code::ReadOnly, format!("Redis at {address} is a read-only replica: connect to its primary"))
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => (
            Code::Auth,
            format!(
                "the Redis user lacks a permission at {address}: the ACL must allow this store's key prefixes and commands"
            ),
        ),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => (Code::Unavailable, format!("Redis at {address} is not ready to answer yet")),
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot) => {
            (Code::Protocol, format!("Redis at {address} is part of a cluster: give a server that holds every key"))
        }
        _ => by_answer(error, address),
    };
    Error::new(code, message).caused_by(error)
}

/// Errors that only the text of the server's answer tells apart.
fn by_answer(error: &RedisError, address: &str) -> (Code, String) {
    let text = format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let says = |word: &str| text.contains(word);
    if says("OOM") {
        (
            Code::OutOfMemory,
            format!(
                "Redis at {address} is at maxmemory: give it more, or end sessions; what was there before is untouched"
            ),
        )
    } else if says("NOAUTH") || says("WRONGPASS") || says("invalid password") || says("AUTH") {
        auth(address)
    } else if says("READONLY") {
        (Code::ReadOnly, format!("Redis at {address} is a read-only replica: connect to its primary"))
    } else if says("WRONGTYPE") {
        (
            Code::Protocol,
            format!(
                "a key under this store's prefixes at {address} holds another type: another program writes there; give the store prefixes of its own"
            ),
        )
    } else if says("not an integer") {
        (Code::Conflict, "the key holds a value that is no counter".to_owned())
    } else {
        (Code::Protocol, format!("the server at {address} did not answer as Redis 6.2 or later does"))
    }
}

fn auth(address: &str) -> (Code, String) {
    (Code::Auth, format!("Redis at {address} refused the user name or password: check url, username and password"))
}

fn is_tls(error: &RedisError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if cause.is::<rustls::Error>() || io.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        next = cause.source();
    }
    error.to_string().contains("certificate")
}
