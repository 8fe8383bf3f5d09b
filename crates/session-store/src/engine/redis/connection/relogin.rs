//! Who logs in, and a connection that stays logged in: AUTH on the live connection before its
//! password expires.
//!
//! AUTH leaves everything else of a connection as it is: commands in flight, CLIENT TRACKING,
//! pushes. A server that refuses it leaves the connection logged in as before; whoever holds the
//! connection then makes another one.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisConnectionInfo, RedisResult, cmd};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::stream::Step;
use crate::credentials::Credentials;
use crate::engine::redis::failure::{self, FailureKind};
use crate::engine::system_clock;
use crate::error::{Code, Error, Result};

/// When to log in again, as a share of the time until the password expires.
const SHARE: f64 = 0.8;
/// A password that expires sooner than this is asked for in vain: the pauses grow from
/// `FIRST_PAUSE` to `LONGEST_PAUSE`.
const SHORT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// User name and password: settings, or what a function answers.
#[derive(Clone)]
pub(crate) struct Logins {
    settings: RedisConnectionInfo,
    function: Option<Credentials>,
    /// How long the function may take.
    patience: Duration,
    /// How often in a row an answer was about to expire. Kept over connections, so that those that
    /// replace one another slow down too.
    in_vain: Arc<AtomicU32>,
}

/// What to log in with, and when it expires (ms since the epoch).
pub(crate) struct Expiring {
    pub(crate) login: RedisConnectionInfo,
    pub(crate) expires_at: Option<i64>,
}

/// How the last login on a live connection went.
#[derive(Clone, Default)]
pub(crate) enum Relogin {
    #[default]
    Done,
    /// There is nothing to log in with.
    Failed(Error),
    /// The server refuses it.
    Refused,
}

impl Logins {
    pub(crate) fn new(
        settings: RedisConnectionInfo,
        function: Option<Credentials>,
        patience: Duration,
    ) -> Self {
        Logins { settings, function, patience, in_vain: Arc::default() }
    }

    /// Whether a function is asked.
    pub(crate) fn asks(&self) -> bool {
        self.function.is_some()
    }

    /// What to log in with now.
    pub(crate) async fn next(&self) -> Result<Expiring> {
        let mut login = self.settings.clone();
        let Some(function) = &self.function else {
            return Ok(Expiring { login, expires_at: None });
        };
        let answer = function.ask().await?;
        if let Some(username) = &answer.username {
            login = login.set_username(username);
        }
        Ok(Expiring { login: login.set_password(&answer.password), expires_at: answer.expires_at })
    }

    async fn next_in_time(&self) -> Result<Expiring> {
        let late = || {
            let ms = self.patience.as_millis();
            let what =
                format!("within {ms} ms (option connectTimeout) {}", Step::Credentials.words());
            Err(Error::new(Code::Auth, what))
        };
        timeout(self.patience, self.next()).await.unwrap_or_else(|_| late())
    }
}

/// Keeps one connection logged in until it is dropped.
pub(crate) struct Keeper {
    task: AbortHandle,
    last: watch::Receiver<Relogin>,
}

impl Keeper {
    /// `expires_at`: when the password of the connection expires, in ms since the epoch.
    pub(crate) fn new(connection: MultiplexedConnection, logins: Logins, expires_at: i64) -> Self {
        let (told, last) = watch::channel(Relogin::Done);
        Keeper {
            task: tokio::spawn(keep(connection, logins, expires_at, told)).abort_handle(),
            last,
        }
    }

    /// Whether the server has refused the last login.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(*self.last.borrow(), Relogin::Refused)
    }

    /// How each login from now on goes.
    pub(crate) fn relogins(&self) -> Relogins {
        Relogins(Some(self.last.clone()))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How logins on a connection go, one after the other.
pub(crate) struct Relogins(Option<watch::Receiver<Relogin>>);

impl Relogins {
    /// Of a connection whose login does not expire.
    pub(crate) fn none() -> Self {
        Relogins(None)
    }

    /// The next one. Waits for ever where there will be none.
    pub(crate) async fn next(&mut self) -> Relogin {
        let Some(last) = &mut self.0 else { return pending().await };
        match last.changed().await {
            Ok(()) => last.borrow_and_update().clone(),
            Err(_) => pending().await,
        }
    }
}

/// Until the connection is lost, or its password does not expire any more.
async fn keep(
    mut connection: MultiplexedConnection,
    logins: Logins,
    mut expires_at: i64,
    told: watch::Sender<Relogin>,
) {
    loop {
        sleep(pause(expires_at.saturating_sub(system_clock()), &logins.in_vain)).await;
        let outcome = match logins.next_in_time().await {
            Err(error) => Relogin::Failed(error),
            Ok(Expiring { login, expires_at: next }) => match auth(&mut connection, &login).await {
                Ok(()) => {
                    let Some(next) = next else { return };
                    expires_at = next;
                    Relogin::Done
                }
                Err(error) if failure::kind(&error) == FailureKind::Lost => return,
                Err(_) => Relogin::Refused,
            },
        };
        told.send_replace(outcome);
    }
}

async fn auth(
    connection: &mut MultiplexedConnection,
    login: &RedisConnectionInfo,
) -> RedisResult<()> {
    let mut auth = cmd("AUTH");
    auth.arg(login.username()).arg(login.password());
    auth.query_async(connection).await
}

/// How long to wait before the next login, when the password expires in `left_ms`. `in_vain`: how
/// often in a row it was about to expire.
fn pause(left_ms: i64, in_vain: &AtomicU32) -> Duration {
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
    let due = left.mul_f64(SHARE);
    if left >= SHORT {
        in_vain.store(0, Relaxed);
        return due;
    }
    let pause =
        FIRST_PAUSE.saturating_mul(1 << in_vain.fetch_add(1, Relaxed).min(16)).min(LONGEST_PAUSE);
    due.max(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_login_is_at_80_percent_of_what_is_left() {
        let in_vain = AtomicU32::new(3);
        assert_eq!(pause(900_000, &in_vain), Duration::from_secs(720));
        assert_eq!(in_vain.load(Relaxed), 0);
        assert_eq!(pause(5000, &in_vain), Duration::from_secs(4));
    }

    #[test]
    fn what_has_expired_is_asked_for_less_and_less_often() {
        let in_vain = AtomicU32::new(0);
        let pauses = [i64::MIN, -1, 0, 900, 10].map(|left| pause(left, &in_vain).as_millis());
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000]);
        for _ in 0..100 {
            pause(0, &in_vain);
        }
        assert_eq!(pause(0, &in_vain), LONGEST_PAUSE);
    }

    #[test]
    fn no_time_is_too_long() {
        assert!(pause(i64::MAX, &AtomicU32::new(0)) > Duration::from_secs(1 << 40));
    }
}
