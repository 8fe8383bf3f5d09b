//! Makes a connection that is ready for work: finds the primary, dials, checks the server, and
//! starts tracking. `supervisor.rs` decides when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use ::redis::{ProtocolVersion, PushInfo, RedisResult};
use tokio::time::timeout;

use super::dial_progress::{DialProgress, DialStep, RefusedTarget};
use super::dialer::{DialedConnection, Dialer};
use super::link::Link;
use super::node::Node;
use super::open_stream::DialTarget;
use super::script_reach::ScriptReach;
use super::sentinel::Sentinels;
use super::server_check::ServerCheck;
use super::wire::Wire;
use crate::config::{Address, Config, Server};
use crate::credentials::Credentials;
use crate::engine::redis::failure;
use crate::engine::redis::tracking::TrackingFeed;
use crate::error::{Code, Error, Result};
use crate::sync::Mutex;

/// Makes connections to one server, or to the primary that sentinels name.
pub(crate) struct Connector {
    server: Server,
    dialer: Dialer,
    pub(crate) sentinels: Option<Sentinels>,
    check: ServerCheck,
    /// Whether scripts may touch one key only, by the last probe.
    is_one_key: AtomicBool,
    /// The primary of the last connection.
    last_primary: Mutex<Option<Node>>,
    /// Whether the last attempt ended at a server that accepted the connection and did not answer.
    /// Then the next attempt tries another address.
    was_silent: AtomicBool,
    /// Where the last connection leads.
    last_target: Mutex<Option<DialTarget>>,
    /// The server's address, as messages name it.
    pub(crate) address: String,
    connect_timeout: Duration,
    /// How often a heartbeat is sent.
    pub(crate) heartbeat: Duration,
    /// Of the attempt that is under way.
    progress: DialProgress,
    /// Receives the server's invalidations, for the near cache.
    pub(crate) feed: Option<Arc<TrackingFeed>>,
}

impl Connector {
    pub(crate) fn new(
        config: &Config,
        server: &Server,
        credentials: &Credentials,
        feed: Option<Arc<TrackingFeed>>,
    ) -> Self {
        let address = match &server.address {
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(path) => path.display().to_string(),
            Address::Cluster { .. } => "a cluster".to_owned(),
            Address::Sentinel { name, nodes } => {
                let nodes: Vec<_> =
                    nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect();
                format!("{name} (by the sentinels {})", nodes.join(", "))
            }
        };
        Connector {
            server: server.clone(),
            dialer: Dialer::new(config, server, credentials),
            sentinels: Sentinels::new(config, server),
            check: ServerCheck::new(config, server),
            is_one_key: AtomicBool::new(false),
            last_primary: Mutex::default(),
            was_silent: AtomicBool::new(false),
            last_target: Mutex::default(),
            address,
            connect_timeout: config.connect_timeout,
            heartbeat: config.heartbeat,
            progress: DialProgress::new(),
            feed,
        }
    }

    /// A connection that is ready for work. `on_push`: called with each push, in the order of the
    /// connection.
    pub(crate) async fn connect(
        &self,
        number: u64,
        on_push: impl Fn(&PushInfo) + Clone + Send + Sync + 'static,
    ) -> Result<Link> {
        self.progress.take_refused_target();
        if !self.was_silent.swap(false, SeqCst) {
            self.progress.forget_tried_addresses();
        }
        let primary = self.primary().await?;
        let attempt = self.attempt(primary, number, on_push);
        timeout(self.connect_timeout, attempt).await.unwrap_or_else(|_| {
            self.was_silent.store(self.progress.step() > DialStep::Connect, SeqCst);
            Err(self.timeout_error())
        })
    }

    /// What the attempt under way waits for, as the end of a sentence.
    pub(crate) fn pending_step(&self) -> String {
        format!("Redis at {}: {}", self.address, self.progress.step().pending_text())
    }

    /// Where nothing accepted the connection, in the attempt that has just failed.
    pub(crate) fn take_refused_target(&self) -> Option<RefusedTarget> {
        // Sentinels may name another one meanwhile, and another address may have answered.
        let is_all = self.sentinels.is_none() && !self.progress.has_tried_address();
        self.progress.take_refused_target().filter(|_| is_all)
    }

    fn timeout_error(&self) -> Error {
        let (step, ms) = (self.progress.step(), self.connect_timeout.as_millis());
        let code = match step {
            DialStep::TlsHandshake => Code::Tls,
            DialStep::FetchCredentials => Code::Auth,
            DialStep::ResolveName | DialStep::Connect | DialStep::Login => Code::Unavailable,
        };
        let at = format!("Redis at {} cannot be reached", self.address);
        let pending = step.pending_text();
        Error::new(
            code,
            format!("{at}: timed out after {ms} ms (option connectTimeout): {pending}"),
        )
    }

    /// A second connection to the primary, for commands that block their connection.
    pub(crate) async fn connect_second(&self) -> Result<Wire> {
        let mut target = self.target(self.primary().await?.as_ref());
        // Another address of the same host name may be a replica.
        let last = self.last_target.lock().clone();
        if let (DialTarget::Tcp(node), Some(DialTarget::Address(of, address))) = (&target, last)
            && of == *node
        {
            target = DialTarget::Address(of, address);
        }
        let progress = DialProgress::new();
        let dialed = self.dialer.dial(&target, &progress, &self.address, |_: &PushInfo| {}).await?;
        Ok(dialed.wire)
    }

    /// The primary that the sentinels name, if there are sentinels.
    async fn primary(&self) -> Result<Option<Node>> {
        match &self.sentinels {
            Some(sentinels) => sentinels.primary().await.map(Some),
            None => Ok(None),
        }
    }

    fn target(&self, primary: Option<&Node>) -> DialTarget {
        match (&self.server.address, primary) {
            (_, Some(node)) => DialTarget::Tcp(node.clone()),
            (Address::Tcp { host, port }, None) => DialTarget::Tcp(Node::new(host, *port)),
            (Address::Unix(path), None) => DialTarget::Unix(path.clone()),
            (Address::Sentinel { .. } | Address::Cluster { .. }, None) => {
                unreachable!("a server of them is named")
            }
        }
    }

    /// The host of a server's address; empty where it is no host.
    pub(crate) fn host(&self) -> &str {
        match &self.server.address {
            Address::Tcp { host, .. } => host,
            _ => "",
        }
    }

    /// Whether the server is asked which keys scripts may touch.
    pub(crate) fn has_reach_probe(&self) -> bool {
        self.check.has_reach_probe()
    }

    /// Which keys scripts may touch, by the last probe.
    pub(crate) fn script_reach(&self) -> ScriptReach {
        if self.is_one_key.load(SeqCst) { ScriptReach::OneKey } else { ScriptReach::AnyKeys }
    }

    /// Remembers the primary. Returns whether the last one was another.
    pub(crate) fn replace_primary(&self, primary: &Node) -> bool {
        let mut last = self.last_primary.lock();
        last.replace(primary.clone()).is_some_and(|last| last != *primary)
    }

    async fn attempt(
        &self,
        primary: Option<Node>,
        number: u64,
        on_push: impl Fn(&PushInfo) + Clone + Send + Sync + 'static,
    ) -> Result<Link> {
        let target = self.target(primary.as_ref());
        let mut why = None;
        // A host name may have addresses of several servers, of which one is the primary.
        loop {
            let attempt = self.attempt_at(&target, primary.clone(), number, on_push.clone());
            let error = match attempt.await {
                Ok(link) => return Ok(link),
                Err(error) if failure::is_permanent(&error) => return Err(error),
                Err(error) => error,
            };
            // What one address has answered says more than that another cannot be reached.
            let most = match why.take() {
                Some(why) if self.progress.step() <= DialStep::Connect => why,
                _ => error,
            };
            if !self.progress.has_untried_address() {
                return Err(most);
            }
            why = Some(most);
        }
    }

    /// One attempt, at any of the addresses that were not tried.
    async fn attempt_at(
        &self,
        target: &DialTarget,
        primary: Option<Node>,
        number: u64,
        on_push: impl Fn(&PushInfo) + Clone + Send + Sync + 'static,
    ) -> Result<Link> {
        let dialed = self.dialer.dial(target, &self.progress, &self.address, on_push).await?;
        let DialedConnection { wire, protocol, target } = dialed;
        let ready = self.make_ready(wire, primary, protocol, number);
        let link =
            ready.await.unwrap_or_else(|error| Err(failure::error(&error, &self.address)))?;
        *self.last_target.lock() = Some(target);
        Ok(link)
    }

    /// Checks the connection's server, and starts tracking.
    async fn make_ready(
        &self,
        mut wire: Wire,
        primary: Option<Node>,
        protocol: ProtocolVersion,
        number: u64,
    ) -> RedisResult<Result<Link>> {
        let reach = match self.check.run(&mut wire, protocol, &self.address).await? {
            Ok(reach) => reach,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(reach) = reach {
            self.is_one_key.store(reach == ScriptReach::OneKey, SeqCst);
        }
        let is_tracked = match (&self.feed, protocol) {
            (None, _) => false,
            (Some(feed), ProtocolVersion::RESP2) => {
                feed.turn_off("the server does not speak RESP3", true);
                false
            }
            (Some(feed), _) => feed.start_tracking(&mut wire, number).await?,
        };
        Ok(Ok(Link { connection: wire, is_tracked, primary, number }))
    }
}
