//! The one connection to a server: made when it is first needed, shared by everyone, made anew after it was lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::{TcpSettings, socket2};
use ::redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, RedisResult, ServerErrorKind, TlsCertificates,
};
use tokio::sync::watch;
use tokio::time::timeout;

use super::failure;
use super::role::Role;
use super::tracking::Feed;
use crate::cache::Flush;
use crate::config::{Address, Config, Server, Tls};
use crate::error::{Code, Error, Result};

/// Requests that may wait for the socket before their senders do.
const PIPELINE_BUFFER: usize = 4096;

/// A live connection. Two links are the same one when they have the same number.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    /// Whether the near cache hears of what is read on it.
    pub(super) is_tracked: bool,
    number: u64,
}

/// What the last attempt to connect came to; `None` while it goes on.
type Attempt = Option<Result<Link>>;

enum State {
    Down,
    Connecting(watch::Receiver<Attempt>),
    Up(Link),
}

struct Shared {
    server: Server,
    address: String,
    connect_timeout: Duration,
    /// What is to hear of changes.
    feed: Option<Arc<Feed>>,
    state: Mutex<(State, u64)>,
}

/// The connection, up or down.
pub(super) struct Connection(Arc<Shared>);

impl Connection {
    pub(super) fn new(config: &Config, server: &Server, feed: Option<Arc<Feed>>) -> Self {
        let address = match &server.address {
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(path) => path.display().to_string(),
        };
        Connection(Arc::new(Shared {
            server: server.clone(),
            address,
            connect_timeout: config.connect_timeout,
            feed,
            state: Mutex::new((State::Down, 0)),
        }))
    }

    /// The server's address, as messages name it.
    pub(super) fn address(&self) -> &str {
        &self.0.address
    }

    /// The live connection; makes one, or joins the making that is under way.
    pub(super) async fn link(&self) -> Result<Link> {
        let mut attempt = {
            let mut state = self.0.lock();
            match &state.0 {
                State::Up(link) => return Ok(link.clone()),
                State::Connecting(attempt) => attempt.clone(),
                State::Down => {
                    state.1 += 1;
                    let (told, attempt) = watch::channel(None);
                    tokio::spawn(connect(self.0.clone(), state.1, told));
                    state.0 = State::Connecting(attempt.clone());
                    attempt
                }
            }
        };
        let outcome = attempt.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(Error::new(Code::Closed, "the connection was closed while it was being made")))
    }

    /// Leaves a link that turned out not to tell of changes.
    pub(super) fn is_deaf(&self, link: &Link) {
        if let Some(feed) = &self.0.feed {
            feed.is_deaf(link.number);
        }
        self.drop_link(link);
    }

    /// Leaves a link that turned out to be dead, unless another has taken its place.
    pub(super) fn drop_link(&self, link: &Link) {
        self.0.drop_number(link.number);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (State, u64)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_number(&self, number: u64) {
        let mut state = self.lock();
        if matches!(&state.0, State::Up(link) if link.number == number) {
            state.0 = State::Down;
        }
        if let Some(feed) = &self.feed {
            feed.lost(number, Flush::Disconnected, "the connection was lost");
        }
    }

    /// The link of this number, while it is up.
    fn link(&self, number: u64) -> Option<Link> {
        match &self.lock().0 {
            State::Up(link) if link.number == number => Some(link.clone()),
            _ => None,
        }
    }
}

async fn connect(shared: Arc<Shared>, number: u64, told: watch::Sender<Attempt>) {
    let (outcome, protocol) = match open(&shared, number, ProtocolVersion::RESP3).await {
        Err(error) if failure::is_resp3_refusal(&error) => {
            (open(&shared, number, ProtocolVersion::RESP2).await, ProtocolVersion::RESP2)
        }
        outcome => (outcome, ProtocolVersion::RESP3),
    };
    let outcome = match outcome {
        Ok(connection) => {
            let ready = make_ready(&shared, connection, protocol, number);
            let slow = (ErrorKind::Io, "the server does not answer");
            timeout(shared.connect_timeout, ready).await.unwrap_or_else(|_| Err(slow.into()))
        }
        Err(error) => Err(error),
    };
    let outcome = outcome.map_err(|error| failure::error(&error, &shared.address));
    shared.lock().0 = match &outcome {
        Ok(link) => State::Up(link.clone()),
        Err(_) => State::Down,
    };
    if let (Some(feed), Ok(Link { is_tracked: true, .. })) = (&shared.feed, &outcome) {
        tokio::spawn(watch(feed.clone(), Arc::downgrade(&shared), number));
    }
    // Nobody may be left to hear it: every caller has its own deadline.
    let _ = told.send(Some(outcome));
}

/// Finds out what a connection is good for.
async fn make_ready(
    shared: &Shared,
    mut connection: MultiplexedConnection,
    protocol: ProtocolVersion,
    number: u64,
) -> RedisResult<Link> {
    // A replica may lag behind, or have been cut off without knowing it: what it holds proves nothing.
    if Role::ask(&mut connection).await? == Role::Replica {
        return Err((ErrorKind::Server(ServerErrorKind::ReadOnly), "a replica").into());
    }
    let is_tracked = match (&shared.feed, protocol) {
        (None, _) => false,
        (Some(feed), ProtocolVersion::RESP2) => {
            feed.is_off("the server does not speak RESP3");
            false
        }
        (Some(feed), _) => feed.begins(&mut connection, number).await?,
    };
    Ok(Link { connection, is_tracked, number })
}

/// Leaves a tracked connection when it turns out to be of no use.
async fn watch(feed: Arc<Feed>, shared: Weak<Shared>, number: u64) {
    feed.watch(number, || Some(shared.upgrade()?.link(number)?.connection)).await;
    if let Some(shared) = shared.upgrade() {
        shared.drop_number(number);
    }
}

async fn open(shared: &Arc<Shared>, number: u64, protocol: ProtocolVersion) -> RedisResult<MultiplexedConnection> {
    let client = client(&shared.server, protocol)?;
    let mut config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(shared.connect_timeout))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_BUFFER);
    if protocol == ProtocolVersion::RESP3 {
        // RESP3 tells of a lost connection at once, so that an idle one is not found dead by a caller.
        let lost = Arc::downgrade(shared);
        config = config.set_push_sender(move |push: PushInfo| {
            if let Some(shared) = lost.upgrade() {
                match &shared.feed {
                    _ if push.kind == PushKind::Disconnection => shared.drop_number(number),
                    Some(feed) => feed.hears(&push),
                    None => {}
                }
            }
            Ok::<(), ::redis::aio::SendError>(())
        });
    }
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    if let Some(name) = &shared.server.connection_name {
        let () = ::redis::cmd("CLIENT").arg("SETNAME").arg(name).query_async(&mut connection).await?;
    }
    Ok(connection)
}

fn client(server: &Server, protocol: ProtocolVersion) -> RedisResult<Client> {
    let address = match (&server.address, &server.tls) {
        (Address::Unix(path), _) => ConnectionAddr::Unix(path.clone()),
        (Address::Tcp { host, port }, None) => ConnectionAddr::Tcp(host.clone(), *port),
        (Address::Tcp { host, port }, Some(_)) => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
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
    match &server.tls {
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
