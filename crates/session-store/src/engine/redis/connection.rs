//! Making a connection to a server, and finding out what it is good for. `supervisor.rs` says when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::io::tcp::{TcpSettings, socket2};
use ::redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, TlsCertificates, Value,
};
use tokio::time::timeout;

use super::failure;
use super::node::Node;
use super::role::Role;
use super::scripts;
use super::sentinel::Sentinels;
use super::tracking::Feed;
use crate::config::{Address, Config, Server, Tls};
use crate::error::Result;

/// Requests that may wait for the socket before their senders do.
const PIPELINE_BUFFER: usize = 4096;

/// A connection to send on.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) connection: MultiplexedConnection,
    /// Whether each command is announced by ASKING: the server is about to get the slot that it is asked for.
    pub(super) asking: bool,
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

/// A live connection. Two links are the same one when they have the same number.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: Wire,
    /// Whether the near cache hears of what is read on it.
    pub(super) is_tracked: bool,
    /// The primary that it leads to, where sentinels tell which one that is.
    pub(super) primary: Option<Node>,
    pub(super) number: u64,
}

/// How to get a connection.
pub(super) struct Connector {
    server: Server,
    pub(super) sentinels: Option<Sentinels>,
    /// The primary that was connected to last.
    last: Mutex<Option<Node>>,
    /// The server's address, as messages name it.
    pub(super) address: String,
    timeout: Duration,
    /// What is to hear of changes.
    pub(super) feed: Option<Arc<Feed>>,
}

impl Connector {
    pub(super) fn new(config: &Config, server: &Server, feed: Option<Arc<Feed>>) -> Self {
        let address = match &server.address {
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(path) => path.display().to_string(),
            Address::Cluster { .. } => "a cluster".to_owned(),
            Address::Sentinel { name, nodes } => {
                let nodes: Vec<_> = nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect();
                format!("{name} (by the sentinels {})", nodes.join(", "))
            }
        };
        let sentinels = Sentinels::new(config, server);
        let last = Mutex::default();
        Connector { server: server.clone(), sentinels, last, address, timeout: config.connect_timeout, feed }
    }

    /// A connection that is ready for work. `heard`: is told what the server says unasked, in the order of the connection.
    pub(super) async fn connect(
        &self,
        number: u64,
        heard: impl Fn(&PushInfo) + Clone + Send + Sync + 'static,
    ) -> Result<Link> {
        let primary = match &self.sentinels {
            Some(sentinels) => Some(sentinels.primary().await?),
            None => None,
        };
        let (outcome, protocol) = match self.open(primary.as_ref(), ProtocolVersion::RESP3, heard.clone()).await {
            Err(error) if failure::is_resp3_refusal(&error) => {
                (self.open(primary.as_ref(), ProtocolVersion::RESP2, heard).await, ProtocolVersion::RESP2)
            }
            outcome => (outcome, ProtocolVersion::RESP3),
        };
        let outcome = match outcome {
            Ok(connection) => {
                let slow = (ErrorKind::Io, "the server does not answer");
                let ready = self.make_ready(connection, primary, protocol, number);
                timeout(self.timeout, ready).await.unwrap_or_else(|_| Err(slow.into()))
            }
            Err(error) => Err(error),
        };
        outcome.map_err(|error| failure::error(&error, &self.address))
    }

    /// A connection to the primary beside the one that is kept, for commands that block it.
    pub(super) async fn connect_beside(&self) -> Result<MultiplexedConnection> {
        let primary = match &self.sentinels {
            Some(sentinels) => Some(sentinels.primary().await?),
            None => None,
        };
        let opening = async {
            let mut connection = self.open(primary.as_ref(), ProtocolVersion::RESP2, |_| {}).await?;
            scripts::REAFFIRM.prepare_invoke().load_async(&mut connection).await?;
            Ok(connection)
        };
        opening.await.map_err(|error: RedisError| failure::error(&error, &self.address))
    }

    /// The host of a server's address; empty where it is no host.
    pub(super) fn host(&self) -> &str {
        match &self.server.address {
            Address::Tcp { host, .. } => host,
            _ => "",
        }
    }

    /// Whether the primary is another one than the last time, which it becomes.
    pub(super) fn is_another(&self, primary: &Node) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.replace(primary.clone()).is_some_and(|last| last != *primary)
    }

    /// Finds out what a connection is good for.
    async fn make_ready(
        &self,
        mut connection: MultiplexedConnection,
        primary: Option<Node>,
        protocol: ProtocolVersion,
        number: u64,
    ) -> RedisResult<Link> {
        // A replica may lag behind, or have been cut off without knowing it: what it holds proves nothing.
        if Role::ask(&mut connection).await? == Role::Replica {
            return Err((ErrorKind::Server(ServerErrorKind::ReadOnly), "a replica").into());
        }
        let is_tracked = match (&self.feed, protocol) {
            (None, _) => false,
            (Some(feed), ProtocolVersion::RESP2) => {
                feed.is_off("the server does not speak RESP3");
                false
            }
            (Some(feed), _) => feed.begins(&mut connection, number).await?,
        };
        let connection = Wire { connection, asking: false };
        Ok(Link { connection, is_tracked, primary, number })
    }

    async fn open(
        &self,
        primary: Option<&Node>,
        protocol: ProtocolVersion,
        heard: impl Fn(&PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let client = client(&self.server, primary, protocol)?;
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        if protocol == ProtocolVersion::RESP3 {
            config = config.set_push_sender(move |push: PushInfo| {
                heard(&push);
                Ok::<(), ::redis::aio::SendError>(())
            });
        }
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        if let Some(name) = &self.server.connection_name {
            let () = ::redis::cmd("CLIENT").arg("SETNAME").arg(name).query_async(&mut connection).await?;
        }
        Ok(connection)
    }
}

/// `primary`: where the server is, if sentinels had to be asked.
fn client(server: &Server, primary: Option<&Node>, protocol: ProtocolVersion) -> RedisResult<Client> {
    let address = match (&server.address, primary) {
        (_, Some(node)) => node.address(server.tls.is_some()),
        (Address::Tcp { host, port }, None) => Node::new(host, *port).address(server.tls.is_some()),
        (Address::Unix(path), None) => ConnectionAddr::Unix(path.clone()),
        (Address::Sentinel { .. } | Address::Cluster { .. }, None) => unreachable!("a server of them is named"),
    };
    let mut tcp = TcpSettings::default().set_nodelay(true);
    if let Some(idle) = server.keep_alive {
        tcp = tcp.set_keepalive(socket2::TcpKeepalive::new().with_time(idle));
    }
    let mut login = RedisConnectionInfo::default().set_db(server.db.into()).set_protocol(protocol);
    if let Some(username) = &server.username {
        login = login.set_username(username);
    }
    if let Some(password) = &server.password {
        login = login.set_password(password);
    }
    let info = address.into_connection_info()?.set_tcp_settings(tcp).set_redis_settings(login);
    open_client(info, server.tls.as_ref())
}

/// Asks one server one thing, on a connection of its own.
pub(super) async fn open_once<T: FromRedisValue>(
    node: &Node,
    server: &Server,
    patience: Duration,
    command: &Cmd,
) -> RedisResult<T> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(patience)).set_response_timeout(None);
    let client = client(server, Some(node), ProtocolVersion::RESP2)?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    command.query_async(&mut connection).await
}

pub(super) fn open_client(info: ConnectionInfo, tls: Option<&Tls>) -> RedisResult<Client> {
    match tls {
        Some(tls) => Client::build_with_tls(info, certificates(tls)),
        None => Client::open(info),
    }
}

fn certificates(tls: &Tls) -> TlsCertificates {
    let bytes = |pem: &String| pem.clone().into_bytes();
    let client_tls = tls
        .cert
        .as_ref()
        .zip(tls.key.as_ref())
        .map(|(cert, key)| ClientTlsConfig { client_cert: bytes(cert), client_key: bytes(key) });
    TlsCertificates { client_tls, root_cert: tls.ca.as_ref().map(bytes) }
}
