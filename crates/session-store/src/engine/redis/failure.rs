//! What a failure of the Redis client means to a caller.
//!
//! A server's answer may quote what it was asked, so its text never gets into a message: only its
//! code does.

use ::redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use crate::engine::not_a_counter;
use crate::error::{Code, Error};

/// What kind of failure it is: how the executor goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FailureKind {
    /// The connection is of no more use; whether the step was carried out is unknown.
    Lost,
    /// The server has become a replica, and refused.
    Demoted,
    /// The server refused for now, and did nothing: it loads its data, waits for its primary or for
    /// replicas, runs a long script, or has stopped the one that was sent.
    NotReady,
    /// The server refused, did nothing, and will refuse until an operator acts or a quota begins
    /// anew.
    Blocked,
    /// The key lies on another server of the cluster, which the refusal names.
    Elsewhere,
    /// An ordinary error reply.
    Other,
}

/// A state in which a server refuses commands. A refused command has done nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum RefusalState {
    /// It runs a long script or function.
    Busy,
    /// It has stopped a script of this store, because of SCRIPT KILL. It refuses to stop one that
    /// has written.
    ScriptStopped,
    /// Fewer replicas are connected than `min-replicas-to-write`.
    TooFewReplicas,
    /// It cannot write to its disk.
    DiskFailed,
    /// It has as many clients as it allows.
    TooManyClients,
    /// What the service allows is used up.
    QuotaUsedUp,
}

impl RefusalState {
    /// Of a server's answer.
    fn of(error: &RedisError) -> Option<Self> {
        let (code, text) = code_and_text(error);
        match code {
            "BUSY" => Some(RefusalState::Busy),
            "NOREPLICAS" => Some(RefusalState::TooFewReplicas),
            "MISCONF" => Some(RefusalState::DiskFailed),
            _ => RefusalState::of_text(text),
        }
    }

    /// Of an answer without a code of its own. What stands behind a quotation mark may be what the
    /// server was asked.
    fn of_text(text: &str) -> Option<Self> {
        let own = text.split(['\'', '"', '`']).next().unwrap_or_default().to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|words| own.contains(words));
        if says(&["script killed by user"]) {
            Some(RefusalState::ScriptStopped)
        } else if says(&["max number of clients", "max concurrent connections"]) {
            Some(RefusalState::TooManyClients)
        } else if says(&["quota", "limit exceeded", "rate limit"]) {
            Some(RefusalState::QuotaUsedUp)
        } else {
            None
        }
    }

    fn kind(self) -> FailureKind {
        match self {
            RefusalState::Busy | RefusalState::ScriptStopped | RefusalState::TooFewReplicas => {
                FailureKind::NotReady
            }
            RefusalState::DiskFailed | RefusalState::TooManyClients | RefusalState::QuotaUsedUp => {
                FailureKind::Blocked
            }
        }
    }

    /// The cause and the cure, after the server's address.
    fn cause_and_cure(self) -> &'static str {
        match self {
            RefusalState::Busy => {
                "is busy with a long script or function (BUSY): wait for its end, or stop it by SCRIPT KILL or FUNCTION KILL"
            }
            RefusalState::ScriptStopped => {
                "stopped a script of this store because of SCRIPT KILL; nothing was written: try again, and find out why the server is \
                 slow (SLOWLOG, LATENCY DOCTOR); the store's scripts take a few ms"
            }
            RefusalState::TooFewReplicas => {
                "takes no writes (NOREPLICAS): fewer replicas are connected than min-replicas-to-write; bring them back, or \
                 lower that setting"
            }
            RefusalState::DiskFailed => {
                "takes no writes (MISCONF): it cannot write to its disk; its log says why; usually the disk is full or \
                 the folder is read-only"
            }
            RefusalState::TooManyClients => {
                "has as many clients as it allows: raise maxclients, or close connections; CLIENT LIST shows whose they are"
            }
            RefusalState::QuotaUsedUp => {
                "refuses commands because a quota of the service is used up: wait for its next period, or choose a larger plan"
            }
        }
    }
}

/// The code of a server's answer, and its text. Redis 6.2 puts words of its own before what stopped
/// a script.
fn code_and_text(error: &RedisError) -> (&str, &str) {
    let (code, text) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    if !text.starts_with("Error running script") {
        return (code, text);
    }
    let inner = text.match_indices(": -").map(|(at, before)| &text[at + before.len()..]);
    let mut inner =
        inner.filter(|inner| inner.starts_with(|first: char| first.is_ascii_uppercase()));
    inner.next().map_or((code, text), |inner| inner.split_once(' ').unwrap_or((inner, "")))
}

/// The refusal, if a reply is one that will change later: it says nothing of what the server can
/// do.
pub(super) fn temporary_refusal(answer: &Value) -> Option<RedisError> {
    let Value::ServerError(_) = answer else { return None };
    let refusal = answer.clone().extract_error().err()?;
    is_temporary_refusal(&refusal).then_some(refusal)
}

/// Whether the server refuses every command for now. The connection is of use again later.
pub(super) fn is_temporary_refusal(error: &RedisError) -> bool {
    matches!(kind(error), FailureKind::NotReady | FailureKind::Blocked)
}

pub(super) fn kind(error: &RedisError) -> FailureKind {
    match error.kind() {
        _ if error.is_io_error() || error.is_unrecoverable_error() => FailureKind::Lost,
        ErrorKind::Server(ServerErrorKind::ReadOnly) => FailureKind::Demoted,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => FailureKind::NotReady,
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => FailureKind::Elsewhere,
        _ if code_and_text(error).0 == "READONLY" => FailureKind::Demoted,
        _ => RefusalState::of(error).map_or(FailureKind::Other, RefusalState::kind),
    }
}

/// Whether the server refuses a script keys of several slots, or keys that the script did not
/// declare.
pub(super) fn is_key_refusal(error: &RedisError) -> bool {
    let says = |words| error.detail().is_some_and(|answer| answer.contains(words));
    error.kind() == ErrorKind::Server(ServerErrorKind::CrossSlot)
        || says("undeclared key")
        || says("Script attempted to access")
}

/// Whether the server lacks HELLO, and so RESP3.
pub(super) fn is_resp3_refusal(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported
        || error.code() == Some("NOPROTO")
        || error
            .detail()
            .is_some_and(|answer| answer.contains("unknown command") && answer.contains("HELLO"))
}

/// Whether the server lacks the command, or has it disabled or renamed.
pub(super) fn is_unknown_command(error: &RedisError) -> bool {
    error.detail().is_some_and(is_unknown)
}

fn is_unknown(answer: &str) -> bool {
    answer.contains("unknown command") || answer.contains("Unknown Redis command")
}

/// The cause and the cure, if a server's reply without a code of its own reports a state in which it
/// refuses every command.
pub(super) fn refusal_state_text(reply: &str) -> Option<&'static str> {
    RefusalState::of_text(reply).map(RefusalState::cause_and_cure)
}

/// The server is part of a cluster, and the options name a single server.
pub(super) fn cluster_node_error(address: &str) -> Error {
    let what =
        "is part of a cluster: give its servers as option cluster, or as a redis-cluster:// URL";
    Error::new(Code::Protocol, format!("Redis at {address} {what}"))
}

/// The server is a sentinel.
pub(super) fn sentinel_error(address: &str) -> Error {
    let what = "is a sentinel: give it as option sentinels, or as a redis-sentinel:// URL";
    Error::new(Code::InvalidArgument, format!("Redis at {address} {what}"))
}

/// Why the answer to EVALSHA or EVAL shows that the server has no scripts, or none for this user.
pub(super) fn missing_scripts_error(answer: &Value, address: &str) -> Option<Error> {
    let Value::ServerError(error) = answer else { return None };
    let need = "the store needs Lua scripts (EVALSHA, EVAL), which change a session and its index in one step";
    if error.code() == "NOPERM" {
        let what = format!(
            "the user lacks a permission; {need}: allow both in its ACL (docs/security.md)"
        );
        return Some(Error::new(Code::Auth, format!("Redis at {address}: {what}")));
    }
    error.details().is_some_and(is_unknown).then(|| {
        let what = format!("has no scripts, or these commands disabled or renamed; {need}");
        Error::new(Code::Protocol, format!("Redis at {address} {what}"))
    })
}

/// Whether it takes a person to mend it: another attempt would fail in the same way.
pub(super) fn is_permanent(error: &Error) -> bool {
    matches!(error.code, Code::Auth | Code::Tls | Code::InvalidArgument | Code::Protocol)
}

/// The error to hand to the caller. `address` names the server, without credentials.
pub(super) fn error(error: &RedisError, address: &str) -> Error {
    let at = format!("Redis at {address}");
    match error.kind() {
        ErrorKind::Io => Error::new(
            Code::Unavailable,
            format!("{at} cannot be reached: check that it runs and that url is right"),
        )
        .caused_by(error),
        ErrorKind::AuthenticationFailed => auth(&at),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => read_only_error(&at),
        ErrorKind::Server(ServerErrorKind::NoPerm) => Error::new(
            Code::Auth,
            format!(
                "{at}: the user lacks a permission; its ACL must allow this store's key prefixes and commands (docs/security.md)"
            ),
        ),
        ErrorKind::Server(ServerErrorKind::BusyLoading) => {
            not_ready(&at, "it loads its data (LOADING)")
        }
        ErrorKind::Server(ServerErrorKind::MasterDown) => {
            not_ready(&at, "it waits for its primary (MASTERDOWN)")
        }
        ErrorKind::Server(ServerErrorKind::ClusterDown) => not_ready(
            &at,
            "its cluster is down (CLUSTERDOWN); CLUSTER INFO and CLUSTER SLOTS tell what is wrong",
        ),
        ErrorKind::Server(ServerErrorKind::TryAgain) => {
            not_ready(&at, "a slot is being moved (TRYAGAIN)")
        }
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            cluster_node_error(address)
        }
        _ if is_key_refusal(error) => {
            let what = "now refuses scripts with several keys: the store reconnects and uses one key per script; try again";
            Error::new(Code::Unavailable, format!("{at} {what}"))
        }
        _ => match RefusalState::of(error) {
            Some(state) => {
                Error::new(Code::Unavailable, format!("{at} {}", state.cause_and_cure()))
            }
            None => by_answer(error, &at),
        },
    }
}

fn not_ready(at: &str, why: &str) -> Error {
    Error::new(Code::Unavailable, format!("{at} is not ready to answer yet: {why}"))
}

/// Errors that only the text of the server's answer tells apart.
fn by_answer(error: &RedisError, at: &str) -> Error {
    let answer =
        format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let says = |words: &str| answer.contains(words);
    if says("OOM") {
        let what =
            "has reached maxmemory: raise maxmemory, or end sessions; existing data is unchanged";
        Error::new(Code::OutOfMemory, format!("{at} {what}"))
    } else if says("NOAUTH") {
        let what = "asks for a password: give it in url, or as option password";
        Error::new(Code::Auth, format!("{at} {what}"))
    } else if says("WRONGPASS") || says("invalid password") {
        auth(at)
    } else if says("READONLY") {
        read_only_error(at)
    } else if says("WRONGTYPE") {
        let what = "a key under this store's prefixes holds another type: another program writes there; give the store its own";
        Error::new(Code::Protocol, format!("{at}: {what}"))
    } else if says("not an integer") || says("overflow") {
        not_a_counter()
    } else if says("SELECT is not allowed") {
        let what = "is part of a cluster that has database 0 only; on Valkey 9 its setting cluster-databases gives more";
        Error::new(Code::InvalidArgument, format!("db: {at} {what}"))
    } else if says("DB index") {
        Error::new(Code::InvalidArgument, format!("db: {at} has no database of this number"))
    } else if is_unknown(&answer) {
        Error::new(
            Code::Protocol,
            format!("{at} lacks a command that the store needs, or has it disabled or renamed"),
        )
    } else {
        Error::new(
            Code::Protocol,
            format!(
                "the server at {address} did not answer as Redis 6.2 or later does",
                address = &at[9..]
            ),
        )
    }
}

fn auth(at: &str) -> Error {
    Error::new(
        Code::Auth,
        format!("{at} refused the user name or password: check url, username and password"),
    )
}

pub(super) fn read_only_error(at: &str) -> Error {
    Error::new(Code::ReadOnly, format!("{at} is a read-only replica: connect to its primary"))
}

/// The servers of a cluster went on sending a step to one another.
pub(super) fn redirect_loop_error(address: &str) -> Error {
    let what = "the cluster's servers disagree about the owner of a slot; compare CLUSTER SLOTS on each server";
    Error::new(
        Code::Unavailable,
        format!("Redis at {address} redirected a command too often: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use ::redis::parse_redis_value;

    use super::*;

    fn refusal(answer: &str) -> RedisError {
        let answer = parse_redis_value(format!("-{answer}\r\n").as_bytes()).unwrap();
        answer.extract_error().unwrap_err()
    }

    fn code_of(answer: &str) -> Code {
        error(&refusal(answer), "a server").code
    }

    #[test]
    fn a_state_of_the_server_is_recognized_by_its_code_or_its_words() {
        for (answer, kind) in [
            (
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
                FailureKind::NotReady,
            ),
            ("NOREPLICAS Not enough good replicas to write.", FailureKind::NotReady),
            (
                "NOREPLICAS Not enough good replicas to write. script: 8baa98ba, on @user_script:1.",
                FailureKind::NotReady,
            ),
            (
                "MISCONF Errors writing to the AOF file: No space left on device",
                FailureKind::Blocked,
            ),
            (
                "ERR Error running script (call to f_8baa98ba): @user_script:1: Script killed by user with SCRIPT KILL...",
                FailureKind::NotReady,
            ),
            (
                "ERR Script killed by user with SCRIPT KILL. script: 8baa98ba, on @user_script:1.",
                FailureKind::NotReady,
            ),
            ("ERR max number of clients reached", FailureKind::Blocked),
            ("ERR max number of clients + cluster connections reached", FailureKind::Blocked),
            ("ERR max concurrent connections exceeded", FailureKind::Blocked),
            (
                "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000.",
                FailureKind::Blocked,
            ),
            (
                "ERR max requests limit exceeded. Limit: 500000, Usage: 500000.",
                FailureKind::Blocked,
            ),
            ("ERR DB capacity quota exceeded", FailureKind::Blocked),
        ] {
            assert_eq!(super::kind(&refusal(answer)), kind, "{answer}");
            assert_eq!(code_of(answer), Code::Unavailable, "{answer}");
        }
    }

    #[test]
    fn an_error_in_a_script_on_redis_6_2_is_classified_by_its_cause() {
        let script = |why: &str| {
            refusal(&format!(
                "ERR Error running script (call to f_8baa98ba): @user_script:1: @user_script: 1: -{why}"
            ))
        };
        assert_eq!(
            kind(&script("NOREPLICAS Not enough good replicas to write.")),
            FailureKind::NotReady
        );
        assert_eq!(
            kind(&script("MISCONF Redis is configured to save RDB snapshots")),
            FailureKind::Blocked
        );
        assert_eq!(
            kind(&script("READONLY You can't write against a read only replica.")),
            FailureKind::Demoted
        );
        assert_eq!(kind(&script("WRONGTYPE Operation against a key")), FailureKind::Other);
    }

    #[test]
    fn what_the_server_was_asked_is_no_state() {
        let quoted =
            "ERR unknown command 'quota', with args beginning with: 'BUSY' 'limit exceeded'";
        assert_eq!(kind(&refusal(quoted)), FailureKind::Other);
        assert_eq!(kind(&refusal("ERR max single record size exceeded")), FailureKind::Other);
        assert_eq!(kind(&refusal("BUSYKEY Target key name already exists.")), FailureKind::Other);
    }
}
