//! A connection that speaks the Redis protocol over a [`Stream`].

use std::sync::{Arc, OnceLock};

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisFuture, Value,
};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::clock_jump::ClockJumpDetector;
use super::last_heard::LastHeard;
use super::login_error::login_error;
use super::relogin::{LoginSource, ReloginOutcomes, ReloginTask};
use super::stream::Stream;
use crate::engine::redis::failure;
use crate::error::Error;

/// Requests that may wait for the socket before their senders do.
const PIPELINE_BUFFER: usize = 4096;

/// A connection to send on. It is closed with its last clone.
#[derive(Clone)]
pub(crate) struct Wire {
    connection: MultiplexedConnection,
    driver: Arc<Driver>,
    /// Whether ASKING precedes each command, because the slot is being moved to this server.
    pub(crate) asking: bool,
}

/// The task that reads and writes, and what belongs to the connection.
struct Driver {
    task: AbortHandle,
    last_heard: LastHeard,
    /// Empty where the login does not expire.
    relogin: OnceLock<ReloginTask>,
    clocks: ClockJumpDetector,
    /// Since when the server was silent, if the connection was abandoned for that.
    abandoned: OnceLock<Instant>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a login failed.
pub(crate) struct LoginFailure {
    pub(crate) error: Error,
    /// Whether the server does not speak RESP3.
    pub(crate) lacks_resp3: bool,
}

impl Wire {
    /// Logs in over a stream. `on_push`: called with each push (RESP3), in the order of the
    /// connection. `at`: the server, as messages name it.
    pub(crate) async fn login(
        stream: Stream,
        login: &RedisConnectionInfo,
        on_push: Option<impl Fn(&PushInfo) + Send + Sync + 'static>,
        at: &str,
    ) -> Result<Self, LoginFailure> {
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        if let (Some(on_push), ProtocolVersion::RESP3) = (on_push, login.protocol()) {
            config = config.set_push_sender(move |push: PushInfo| {
                on_push(&push);
                Ok::<(), ::redis::aio::SendError>(())
            });
        }
        let (first_bytes, is_plain) = (stream.first_bytes(), stream.is_plain_tcp());
        let last_heard = stream.last_heard();
        match MultiplexedConnection::new_with_config(login, stream, config).await {
            Ok((connection, driver)) => {
                let task = tokio::spawn(driver).abort_handle();
                let driver = Arc::new(Driver {
                    task,
                    last_heard,
                    clocks: ClockJumpDetector::new(),
                    relogin: OnceLock::new(),
                    abandoned: OnceLock::new(),
                });
                Ok(Wire { connection, driver, asking: false })
            }
            Err(error) => Err(LoginFailure {
                error: login_error(&error, &first_bytes.get(), is_plain, at),
                lacks_resp3: failure::is_resp3_refusal(&error),
            }),
        }
    }

    /// Logs in again before `expires_at` (ms since the epoch), as long as the connection lives.
    pub(crate) fn keep_logged_in(&self, logins: &LoginSource, expires_at: i64) {
        self.driver.relogin.get_or_init(|| {
            ReloginTask::start(self.connection.clone(), logins.clone(), expires_at)
        });
    }

    /// The outcomes of further logins.
    pub(crate) fn relogin_outcomes(&self) -> ReloginOutcomes {
        self.driver.relogin.get().map_or_else(ReloginOutcomes::none, ReloginTask::outcomes)
    }

    /// Whether the server refused the last further login. It may cut the connection when the
    /// password expires.
    pub(crate) fn is_relogin_refused(&self) -> bool {
        self.driver.relogin.get().is_some_and(ReloginTask::is_refused)
    }

    pub(crate) fn last_heard(&self) -> &LastHeard {
        &self.driver.last_heard
    }

    /// Check it before each use of the connection.
    pub(crate) fn clocks(&self) -> &ClockJumpDetector {
        &self.driver.clocks
    }

    /// Closes the connection, and with it what is in flight: the server was silent since this
    /// moment.
    pub(crate) fn abandon(&self, silent_since: Instant) {
        let _ = self.driver.abandoned.set(silent_since);
        self.driver.task.abort();
    }

    /// Since when the server was silent, if the connection was abandoned for that.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        self.driver.abandoned.get().copied()
    }
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        if !self.asking {
            return self.connection.req_packed_command(cmd);
        }
        Box::pin(async move {
            let mut both = ::redis::pipe();
            both.cmd("ASKING").ignore().add_command(cmd.clone());
            let mut answers = self.connection.req_packed_commands(&both, 0, 2).await?;
            answers.pop().map_or(Ok(Value::Nil), Value::extract_error)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        debug_assert!(!self.asking, "ASKING precedes single commands only");
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}
