//! The login of a connection, and its renewal: AUTH on the live connection before the password
//! expires.
//!
//! AUTH changes nothing else of a connection: commands in flight, CLIENT TRACKING and pushes go on.
//! A server that refuses AUTH leaves the connection logged in as before. `takeover.rs` then
//! replaces the connection.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisConnectionInfo, RedisResult, cmd};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::dial_progress::DialStep;
use crate::clock::now_ms;
use crate::credentials::Credentials;
use crate::engine::redis::failure::{self, FailureKind};
use crate::error::{Code, Error, Result};

/// When to log in again, as a share of the time until the password expires.
const RENEW_AT_SHARE: f64 = 0.8;
/// A password that expires sooner than this is of no use: the pauses grow from `FIRST_PAUSE` to
/// `LONGEST_PAUSE`.
const MIN_LIFE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where user name and password come from: settings, or a function.
#[derive(Clone)]
pub(crate) struct LoginSource {
    settings: RedisConnectionInfo,
    function: Option<Credentials>,
    /// How long the function may take.
    timeout: Duration,
    /// How many passwords in a row were about to expire. Shared by all connections, so that
    /// connections which replace one another slow down too.
    short_lived: Arc<AtomicU32>,
}

/// What to log in with, and when it expires (ms since the epoch).
pub(crate) struct ExpiringLogin {
    pub(crate) login: RedisConnectionInfo,
    pub(crate) expires_at: Option<i64>,
}

/// The outcome of a further login on a live connection.
#[derive(Clone, Default)]
pub(crate) enum ReloginOutcome {
    #[default]
    Renewed,
    /// The function gave no credentials.
    NoCredentials(Error),
    /// The server refused AUTH.
    Refused,
}

impl LoginSource {
    /// `timeout`: for the function's answer.
    pub(crate) fn new(
        settings: RedisConnectionInfo,
        function: Option<Credentials>,
        timeout: Duration,
    ) -> Self {
        LoginSource { settings, function, timeout, short_lived: Arc::default() }
    }

    /// Whether a function gives the credentials.
    pub(crate) fn has_function(&self) -> bool {
        self.function.is_some()
    }

    /// The login for the next attempt.
    pub(crate) async fn next_login(&self) -> Result<ExpiringLogin> {
        let mut login = self.settings.clone();
        let Some(function) = &self.function else {
            return Ok(ExpiringLogin { login, expires_at: None });
        };
        let answer = function.login().await?;
        if let Some(username) = &answer.username {
            login = login.set_username(username);
        }
        let login = login.set_password(&answer.password);
        Ok(ExpiringLogin { login, expires_at: answer.expires_at })
    }

    async fn next_login_in_time(&self) -> Result<ExpiringLogin> {
        let timeout_error = || {
            let ms = self.timeout.as_millis();
            let pending = DialStep::FetchCredentials.pending_text();
            Err(Error::new(
                Code::Auth,
                format!("timed out after {ms} ms (option connectTimeout): {pending}"),
            ))
        };
        timeout(self.timeout, self.next_login()).await.unwrap_or_else(|_| timeout_error())
    }
}

/// The task that renews one connection's login. It ends when this is dropped.
pub(crate) struct ReloginTask {
    task: AbortHandle,
    last: watch::Receiver<ReloginOutcome>,
}

impl ReloginTask {
    /// `expires_at`: when the password of the connection expires, in ms since the epoch.
    pub(crate) fn start(
        connection: MultiplexedConnection,
        logins: LoginSource,
        expires_at: i64,
    ) -> Self {
        let (outcomes, last) = watch::channel(ReloginOutcome::Renewed);
        let renewal = renew_until_lost(connection, logins, expires_at, outcomes);
        ReloginTask { task: tokio::spawn(renewal).abort_handle(), last }
    }

    /// Whether the server refused the last login.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(*self.last.borrow(), ReloginOutcome::Refused)
    }

    /// The outcome of each login from now on.
    pub(crate) fn outcomes(&self) -> ReloginOutcomes {
        ReloginOutcomes(Some(self.last.clone()))
    }
}

impl Drop for ReloginTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The outcomes of a connection's further logins, one after the other.
pub(crate) struct ReloginOutcomes(Option<watch::Receiver<ReloginOutcome>>);

impl ReloginOutcomes {
    /// For a connection whose login does not expire.
    pub(crate) fn none() -> Self {
        ReloginOutcomes(None)
    }

    /// Waits for the next outcome; for ever where there will be none.
    pub(crate) async fn next(&mut self) -> ReloginOutcome {
        let Some(last) = &mut self.0 else { return pending().await };
        match last.changed().await {
            Ok(()) => last.borrow_and_update().clone(),
            Err(_) => pending().await,
        }
    }
}

/// Logs in again and again, until the connection is lost or its password no longer expires.
async fn renew_until_lost(
    mut connection: MultiplexedConnection,
    logins: LoginSource,
    mut expires_at: i64,
    outcomes: watch::Sender<ReloginOutcome>,
) {
    loop {
        let left_ms = expires_at.saturating_sub(now_ms());
        sleep(delay_until_relogin(left_ms, &logins.short_lived)).await;
        let outcome = match logins.next_login_in_time().await {
            Err(error) => ReloginOutcome::NoCredentials(error),
            Ok(ExpiringLogin { login, expires_at: next }) => {
                match auth(&mut connection, &login).await {
                    Ok(()) => {
                        let Some(next) = next else { return };
                        expires_at = next;
                        ReloginOutcome::Renewed
                    }
                    Err(error) if failure::kind(&error) == FailureKind::Lost => return,
                    Err(_) => ReloginOutcome::Refused,
                }
            }
        };
        outcomes.send_replace(outcome);
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

/// How long to wait before the next login, when the password expires in `left_ms`. `short_lived`:
/// how many passwords in a row were about to expire.
fn delay_until_relogin(left_ms: i64, short_lived: &AtomicU32) -> Duration {
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
    let due = left.mul_f64(RENEW_AT_SHARE);
    if left >= MIN_LIFE {
        short_lived.store(0, Relaxed);
        return due;
    }
    let pause = FIRST_PAUSE
        .saturating_mul(1 << short_lived.fetch_add(1, Relaxed).min(16))
        .min(LONGEST_PAUSE);
    due.max(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_login_is_at_80_percent_of_what_is_left() {
        let short_lived = AtomicU32::new(3);
        assert_eq!(delay_until_relogin(900_000, &short_lived), Duration::from_secs(720));
        assert_eq!(short_lived.load(Relaxed), 0);
        assert_eq!(delay_until_relogin(5000, &short_lived), Duration::from_secs(4));
    }

    #[test]
    fn an_expired_password_is_renewed_less_and_less_often() {
        let short_lived = AtomicU32::new(0);
        let pauses = [i64::MIN, -1, 0, 900, 10]
            .map(|left| delay_until_relogin(left, &short_lived).as_millis());
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000]);
        for _ in 0..100 {
            delay_until_relogin(0, &short_lived);
        }
        assert_eq!(delay_until_relogin(0, &short_lived), LONGEST_PAUSE);
    }

    #[test]
    fn no_time_is_too_long() {
        assert!(delay_until_relogin(i64::MAX, &AtomicU32::new(0)) > Duration::from_secs(1 << 40));
    }
}
