//! A connection that speaks Redis' protocol, over a stream of our own.

use std::sync::{Arc, OnceLock};

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisFuture, Value,
};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::clocks::Clocks;
use super::heard::Heard;
use super::relogin::{Keeper, Logins, Relogins};
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
    /// Whether each command is announced by ASKING: the server is about to get the slot that it is
    /// asked for.
    pub(crate) asking: bool,
}

/// The task that reads and writes.
struct Driver {
    task: AbortHandle,
    heard: Heard,
    /// Where the login expires.
    keeper: OnceLock<Keeper>,
    clocks: Clocks,
    /// When it turned out that it may be dead, if it was left for that.
    doubted: OnceLock<Instant>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a login failed.
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// Whether the server does not speak RESP3.
    pub(crate) no_resp3: bool,
}

impl Wire {
    /// Logs in over a stream. `heard`: is told what the server says unasked, in the order of the
    /// connection (RESP3). `at`: the server, as messages name it.
    pub(crate) async fn login(
        stream: Stream,
        login: &RedisConnectionInfo,
        heard: Option<impl Fn(&PushInfo) + Send + Sync + 'static>,
        at: &str,
    ) -> Result<Self, Refusal> {
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        if let (Some(heard), ProtocolVersion::RESP3) = (heard, login.protocol()) {
            config = config.set_push_sender(move |push: PushInfo| {
                heard(&push);
                Ok::<(), ::redis::aio::SendError>(())
            });
        }
        let (first, is_plain, heard) = (stream.first(), stream.is_plain_tcp(), stream.heard());
        match MultiplexedConnection::new_with_config(login, stream, config).await {
            Ok((connection, driver)) => {
                let task = tokio::spawn(driver).abort_handle();
                let driver = Arc::new(Driver {
                    task,
                    heard,
                    clocks: Clocks::new(),
                    keeper: OnceLock::new(),
                    doubted: OnceLock::new(),
                });
                Ok(Wire { connection, driver, asking: false })
            }
            Err(error) => Err(Refusal {
                error: failure::login_error(&error, &first.get(), is_plain, at),
                no_resp3: failure::is_resp3_refusal(&error),
            }),
        }
    }

    /// Logs in again before `expires_at` (ms since the epoch), for as long as the connection is
    /// held.
    pub(crate) fn stay_logged_in(&self, logins: &Logins, expires_at: i64) {
        self.driver
            .keeper
            .get_or_init(|| Keeper::new(self.connection.clone(), logins.clone(), expires_at));
    }

    /// How each further login goes.
    pub(crate) fn relogins(&self) -> Relogins {
        self.driver.keeper.get().map_or_else(Relogins::none, Keeper::relogins)
    }

    /// Whether the server has refused the last further login: it may cut the connection when the
    /// password expires.
    pub(crate) fn is_refused(&self) -> bool {
        self.driver.keeper.get().is_some_and(Keeper::is_refused)
    }

    /// When the server was heard last.
    pub(crate) fn heard(&self) -> &Heard {
        &self.driver.heard
    }

    /// To be looked at before each use.
    pub(crate) fn clocks(&self) -> &Clocks {
        &self.driver.clocks
    }

    /// Ends it, and what is under way on it: it has not answered since it was doubted.
    pub(crate) fn leave(&self, doubted: Instant) {
        let _ = self.driver.doubted.set(doubted);
        self.driver.task.abort();
    }

    /// Since when it was doubted, if it was left.
    pub(crate) fn doubted(&self) -> Option<Instant> {
        self.driver.doubted.get().copied()
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
        debug_assert!(!self.asking, "several commands are never announced together");
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}
