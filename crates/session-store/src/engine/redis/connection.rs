//! Making a connection to a server, and finding out what it is good for. `supervisor.rs` says when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::{TcpSettings, socket2};
use ::redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, PushInfo, RedisConnectionInfo, RedisResult, ServerErrorKind, TlsCertificates,
};
use tokio::time::timeout;

use super::failure;
use super::role::Role;
use super::sentinel::{Node, Sentinels};
use super::tracking::Feed;
use crate::config::{Address, Config, Server, Tls};
use crate::error::Result;

/// Requests that may wait for the socket before their senders do.
const PIPELINE_BUFFER: usize = 4096;

/// A live connection. Two links are the same one when they have the same number.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
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
        (Address::Sentinel { .. }, None) => unreachable!("the sentinels are asked first"),
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
