//! Why a login failed. What a server sends before anything else shows what it is: a web server, a
//! TLS port, a server in protected mode, or one with too many clients.

use ::redis::{ErrorKind, RedisError};

use super::tls_error;
use crate::engine::redis::failure;
use crate::error::{Code, Error};

/// The first bytes of a TLS alert, in any version.
const TLS_ALERT: &[u8] = &[0x15, 0x03];

/// The error for a failed login. `first`: the first bytes that the server sent. `is_plain`: whether
/// the connection is TCP without TLS. `address` names the server, without credentials.
pub(super) fn login_error(
    error: &RedisError,
    first: &[u8],
    is_plain: bool,
    address: &str,
) -> Error {
    tls_error::late_handshake_error(error, address)
        .or_else(|| error_by_first_bytes(first, &format!("Redis at {address}")))
        .unwrap_or_else(|| match error.kind() {
            ErrorKind::Io if first.is_empty() => closed_error(error, is_plain, address),
            _ => failure::error(error, address),
        })
}

fn error_by_first_bytes(first: &[u8], at: &str) -> Option<Error> {
    let (code, what) = if first.starts_with(b"HTTP/") {
        let what = "the server there speaks HTTP; give the host and port of Redis";
        return Some(Error::new(Code::Protocol, format!("{at} cannot be used: {what}")));
    } else if first.starts_with(TLS_ALERT) {
        (Code::Tls, "expects TLS: use rediss:// in place of redis://, or option tls")
    } else if first.starts_with(b"-DENIED") {
        let what = "is in protected mode: it has no password and accepts only local connections; set a password on the \
            server (requirepass), and as option password";
        (Code::Auth, what)
    } else if let Some(what) = refusal_state_text(first) {
        (Code::Unavailable, what)
    } else if first.starts_with(b"-ERR AUTH <password> called without any password") {
        let what =
            "has no password, but one was given: remove it, or set one on the server (requirepass)";
        (Code::Auth, what)
    } else {
        return None;
    };
    Some(Error::new(code, format!("{at} {what}")))
}

fn refusal_state_text(first: &[u8]) -> Option<&'static str> {
    let text = first.strip_prefix(b"-ERR ")?;
    failure::refusal_state_text(&String::from_utf8_lossy(text))
}

fn closed_error(error: &RedisError, is_plain: bool, address: &str) -> Error {
    let tls = if is_plain { "; a port that expects TLS (rediss://) does so" } else { "" };
    let what =
        format!("cannot be reached: the server closed the connection without an answer{tls}");
    Error::new(Code::Unavailable, format!("Redis at {address} {what}")).caused_by(error)
}
