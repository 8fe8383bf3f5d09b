//! Opens connections to servers: the stream, TLS, and the login.

use std::time::Duration;

use ::redis::{
    FromRedisValue, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisResult,
};
use tokio::time::timeout;

use super::dial_progress::{DialProgress, DialStep};
use super::node::Node;
use super::open_stream::{DialTarget, open_stream};
use super::relogin::{ExpiringLogin, LoginSource};
use super::stream::Stream;
use super::tls::TlsClient;
use super::wire::Wire;
use crate::config::{Config, SentinelLogin, Server};
use crate::credentials::Credentials;
use crate::error::{Code, Error, Result};

/// For connections on which no pushes are expected.
const IGNORE_PUSHES: Option<fn(&PushInfo)> = None;

/// Opens connections with the same TLS settings and the same source of logins.
pub(crate) struct Dialer {
    tls: Option<TlsClient>,
    keep_alive: Option<Duration>,
    logins: LoginSource,
    connect_timeout: Duration,
}

/// A connection that is logged in.
pub(crate) struct DialedConnection {
    pub(crate) wire: Wire,
    /// RESP3 if the server speaks it.
    pub(crate) protocol: ProtocolVersion,
    /// Where the connection leads.
    pub(crate) target: DialTarget,
}

impl Dialer {
    /// For servers that hold keys.
    pub(crate) fn new(config: &Config, server: &Server, credentials: &Credentials) -> Self {
        let settings = login_settings(server.username.as_deref(), server.password.as_deref())
            .set_db(server.db.into());
        let function = server.asks_for_login.then(|| credentials.clone());
        Dialer {
            tls: server.tls.as_ref().map(TlsClient::new),
            keep_alive: server.keep_alive,
            logins: LoginSource::new(settings, function, config.connect_timeout),
            connect_timeout: config.connect_timeout,
        }
    }

    /// For the sentinels of a server.
    pub(crate) fn for_sentinels(config: &Config, server: &Server, own: &SentinelLogin) -> Self {
        let settings = login_settings(own.username.as_deref(), own.password.as_deref());
        Dialer {
            tls: server.tls.as_ref().filter(|_| own.tls).map(TlsClient::new),
            keep_alive: None,
            logins: LoginSource::new(settings, None, config.connect_timeout),
            connect_timeout: config.connect_timeout,
        }
    }

    /// Opens a connection with RESP3, or with RESP2 where the server speaks no RESP3. `at`: the
    /// server, as messages name it.
    pub(crate) async fn dial(
        &self,
        target: &DialTarget,
        progress: &DialProgress,
        at: &str,
        on_push: impl Fn(&PushInfo) + Clone + Send + Sync + 'static,
    ) -> Result<DialedConnection> {
        let stream = self.open_stream(target, progress, at).await?;
        let target = target.reached_by(&stream);
        // Only now that a server has accepted: the function of option credentials may be expensive.
        let ExpiringLogin { login, expires_at } = self.next_login(progress).await?;
        let resp3 = login.clone().set_protocol(ProtocolVersion::RESP3);
        let (wire, protocol) = match Wire::login(stream, &resp3, Some(on_push), at).await {
            Ok(wire) => (wire, ProtocolVersion::RESP3),
            Err(failure) if failure.lacks_resp3 => {
                let stream = self.open_stream(&target, progress, at).await?;
                progress.enter(DialStep::Login);
                let wire = Wire::login(stream, &login, IGNORE_PUSHES, at)
                    .await
                    .map_err(|failure| failure.error)?;
                (wire, ProtocolVersion::RESP2)
            }
            Err(failure) => return Err(failure.error),
        };
        if let Some(expires_at) = expires_at {
            wire.keep_logged_in(&self.logins, expires_at);
        }
        Ok(DialedConnection { wire, protocol, target })
    }

    /// Sends commands to one server, on a connection of their own. `patience`: for each of its
    /// answers.
    pub(crate) async fn query_once<T: FromRedisValue>(
        &self,
        node: &Node,
        at: &str,
        patience: Duration,
        commands: &Pipeline,
    ) -> Result<RedisResult<T>> {
        let mut wire = self.dial_for_queries(node, at, patience).await?;
        let answers = timeout(patience, commands.query_async(&mut wire)).await;
        answers.map_err(|_| silent_error(DialStep::Login, at))
    }

    /// A connection to one server, with RESP2. `patience`: for each of its answers.
    pub(crate) async fn dial_for_queries(
        &self,
        node: &Node,
        at: &str,
        patience: Duration,
    ) -> Result<Wire> {
        let progress = DialProgress::new();
        let silent = |_| silent_error(progress.step(), at);
        let target = DialTarget::Tcp(node.clone());
        let stream =
            timeout(patience, self.open_stream(&target, &progress, at)).await.map_err(silent)??;
        let ExpiringLogin { login, .. } =
            timeout(self.connect_timeout, self.next_login(&progress)).await.map_err(silent)??;
        let wire = timeout(patience, Wire::login(stream, &login, IGNORE_PUSHES, at)).await;
        wire.map_err(silent)?.map_err(|failure| failure.error)
    }

    async fn open_stream(
        &self,
        target: &DialTarget,
        progress: &DialProgress,
        at: &str,
    ) -> Result<Stream> {
        open_stream(target, self.tls.as_ref(), self.keep_alive, progress, at).await
    }

    async fn next_login(&self, progress: &DialProgress) -> Result<ExpiringLogin> {
        if self.logins.has_function() {
            progress.enter(DialStep::FetchCredentials);
        }
        let login = self.logins.next_login().await?;
        progress.enter(DialStep::Login);
        Ok(login)
    }
}

fn login_settings(username: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    login
}

fn silent_error(step: DialStep, at: &str) -> Error {
    let what = format!("Redis at {at} cannot be reached: {}", step.pending_text());
    Error::new(Code::Unavailable, what)
}
