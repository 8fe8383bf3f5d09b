//! The one error of the product: a code to branch on, a message that says what to do, and its
//! causes.
//!
//! No token, key, value, user id or password may be put into a message.

use std::fmt;
use std::time::Duration;

/// What went wrong, as callers branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// Redis cannot be reached, went away before it answered, or refuses commands for now.
    Unavailable,
    /// The server that was to answer was silent for `commandTimeout`. The operation may or may not
    /// have been carried out.
    Timeout,
    /// Redis refused the user name or password, or the user lacks a permission.
    Auth,
    /// The TLS handshake failed, or a certificate cannot be used.
    Tls,
    /// The server is a read-only replica.
    ReadOnly,
    /// Redis is at `maxmemory` and evicts nothing.
    OutOfMemory,
    /// An option or an argument is wrong. Nothing was written.
    InvalidArgument,
    /// There is no such session.
    NotFound,
    /// The session was ended; it cannot be written any more.
    Revoked,
    /// The write is rejected: the data of another writer or application is stored there, or a clock
    /// is wrong.
    Conflict,
    /// A bound of this store was exceeded (size of a value).
    Limit,
    /// The store was closed.
    Closed,
    /// The server answered something that a Redis server of a supported version does not answer, or
    /// this store has a defect.
    Protocol,
}

impl Code {
    /// Every code there is.
    pub const ALL: [Code; 13] = [
        Code::Unavailable,
        Code::Timeout,
        Code::Auth,
        Code::Tls,
        Code::ReadOnly,
        Code::OutOfMemory,
        Code::InvalidArgument,
        Code::NotFound,
        Code::Revoked,
        Code::Conflict,
        Code::Limit,
        Code::Closed,
        Code::Protocol,
    ];

    /// Whether it says that Redis cannot answer. Under these codes the journal keeps what is still
    /// to be done, and Better Auth may look into its database.
    pub fn is_outage(self) -> bool {
        matches!(self, Code::Unavailable | Code::Timeout | Code::ReadOnly | Code::Auth | Code::Tls)
    }

    /// The code as JavaScript sees it, for example `INVALID_ARGUMENT`.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Unavailable => "UNAVAILABLE",
            Code::Timeout => "TIMEOUT",
            Code::Auth => "AUTH",
            Code::Tls => "TLS",
            Code::ReadOnly => "READONLY",
            Code::OutOfMemory => "OUT_OF_MEMORY",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::NotFound => "NOT_FOUND",
            Code::Revoked => "REVOKED",
            Code::Conflict => "CONFLICT",
            Code::Limit => "LIMIT",
            Code::Closed => "CLOSED",
            Code::Protocol => "PROTOCOL",
        }
    }
}

// A new code stands before `Protocol`, and in `ALL`.
const _: () = assert!(Code::ALL.len() == Code::Protocol as usize + 1);

/// An operation's failure.
#[derive(Clone, Debug)]
pub struct Error {
    /// What went wrong.
    pub code: Code,
    message: String,
}

/// The result of every operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a message that says what to do about it.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into() }
    }

    /// An argument that cannot be accepted.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(Code::InvalidArgument, message)
    }

    /// No answer within `commandTimeout`. `waits_for`: what is waited for, where there is no
    /// connection.
    pub(crate) fn timed_out(command_timeout: Duration, waits_for: Option<String>) -> Self {
        let ms = command_timeout.as_millis();
        let why = waits_for.map(|what| format!(": {what}")).unwrap_or_default();
        let what = "a write may or may not have been carried out";
        Error::new(
            Code::Timeout,
            format!("no answer within {ms} ms (option commandTimeout){why}; {what}"),
        )
    }

    /// Appends the chain of causes to the message, one line each.
    pub fn caused_by(mut self, cause: &dyn std::error::Error) -> Self {
        let mut next = Some(cause);
        while let Some(error) = next {
            let text = error.to_string();
            if !self.message.contains(&text) {
                self.message.push_str("\n  caused by: ");
                self.message.push_str(&text);
            }
            next = error.source();
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
