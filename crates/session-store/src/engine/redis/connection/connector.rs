//! Making a connection to a server, and finding out what it is good for. `supervisor.rs` says when.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::{
    FromRedisValue, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisResult, Value,
    pipe,
};
use tokio::time::timeout;

use super::node::Node;
use super::reach;
use super::reach::Probe;
use super::relogin::{Expiring, Logins};
use super::role::Role;
use super::sentinel::Sentinels;
use super::stream::{ClosedDoor, Progress, Step, Stream, Target};
use super::supervisor::is_final;
use super::tls::Secure;
use super::version;
use super::wire::Wire;
use crate::config::{Address, Config, SentinelLogin, Server};
use crate::credentials::Credentials;
use crate::engine::redis::failure;
use crate::engine::redis::tracking::Feed;
use crate::error::{Code, Error, Result};

/// A live connection. Two links are the same one when they have the same number.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) connection: Wire,
    /// Whether the near cache hears of what is read on it.
    pub(crate) is_tracked: bool,
    /// The primary that it leads to, where sentinels tell which one that is.
    pub(crate) primary: Option<Node>,
    pub(crate) number: u64,
}

/// How to get a connection.
pub(crate) struct Connector {
    server: Server,
    door: Door,
    pub(crate) sentinels: Option<Sentinels>,
    /// What a server is asked about its scripts; `None`: it is to be part of a cluster.
    probe: Option<Probe>,
    /// Whether its scripts may touch one key only, by what it has answered last.
    is_one_key: AtomicBool,
    /// The primary that was connected to last.
    last: Mutex<Option<Node>>,
    /// Whether the last attempt was ended by a server that took the connection and did not answer:
    /// then another address is tried.
    was_silent: AtomicBool,
    /// Where the last connection leads.
    reached: Mutex<Option<Target>>,
    /// The server's address, as messages name it.
    pub(crate) address: String,
    timeout: Duration,
    /// Of a user's index, which no user has.
    index_key: String,
    /// How often a connection must show that it is alive.
    pub(crate) heartbeat: Duration,
    /// How far the attempt has come that is under way.
    progress: Progress,
    /// What is to hear of changes.
    pub(crate) feed: Option<Arc<Feed>>,
}

impl Connector {
    pub(crate) fn new(
        config: &Config,
        server: &Server,
        credentials: &Credentials,
        feed: Option<Arc<Feed>>,
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
            door: Door::new(config, server, credentials),
            sentinels: Sentinels::new(config, server),
            probe: (!config.is_cluster()).then(|| Probe::new(config)),
            is_one_key: AtomicBool::new(false),
            last: Mutex::default(),
            was_silent: AtomicBool::new(false),
            reached: Mutex::default(),
            address,
            timeout: config.connect_timeout,
            index_key: config.user_prefix.clone(),
            heartbeat: config.heartbeat,
            progress: Progress::new(),
            feed,
        }
    }

    /// A connection that is ready for work. `heard`: is told what the server says unasked, in the
    /// order of the connection.
    pub(crate) async fn connect(
        &self,
        number: u64,
        heard: impl Fn(&PushInfo) + Clone + Send + Sync + 'static,
    ) -> Result<Link> {
        self.progress.take_closed();
        if !self.was_silent.swap(false, SeqCst) {
            self.progress.forget_tried();
        }
        let primary = self.primary().await?;
        timeout(self.timeout, self.attempt(primary, number, heard)).await.unwrap_or_else(|_| {
            self.was_silent.store(self.progress.step() > Step::Connection, SeqCst);
            Err(self.too_late())
        })
    }

    /// What the attempt that is under way waits for, as the end of a sentence.
    pub(crate) fn waits_for(&self) -> String {
        format!("Redis at {}: {}", self.address, self.progress.step().words())
    }

    /// Where nothing took the connection, in the attempt that has just failed.
    pub(crate) fn closed_door(&self) -> Option<ClosedDoor> {
        // Sentinels may name another one meanwhile, and another address may have answered.
        let is_all = self.sentinels.is_none() && !self.progress.has_tried();
        self.progress.take_closed().filter(|_| is_all)
    }

    fn too_late(&self) -> Error {
        let (step, ms) = (self.progress.step(), self.timeout.as_millis());
        let code = match step {
            Step::Handshake => Code::Tls,
            Step::Credentials => Code::Auth,
            Step::Name | Step::Connection | Step::Login => Code::Unavailable,
        };
        let at = format!("Redis at {} cannot be reached", self.address);
        Error::new(code, format!("{at}: within {ms} ms (option connectTimeout) {}", step.words()))
    }

    /// A connection to the primary beside the one that is kept, for commands that block it.
    pub(crate) async fn connect_beside(&self) -> Result<Wire> {
        let mut target = self.target(self.primary().await?.as_ref());
        // Of a name's addresses another one may be a replica.
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Target::Tcp(node), Some(Target::Address(of, address))) = (&target, reached)
            && of == *node
        {
            target = Target::Address(of, address);
        }
        let (wire, _, _) =
            self.door.open(&target, &Progress::new(), &self.address, |_: &PushInfo| {}).await?;
        Ok(wire)
    }

    /// Where the primary is, where sentinels have to be asked.
    async fn primary(&self) -> Result<Option<Node>> {
        match &self.sentinels {
            Some(sentinels) => sentinels.primary().await.map(Some),
            None => Ok(None),
        }
    }

    fn target(&self, primary: Option<&Node>) -> Target {
        match (&self.server.address, primary) {
            (_, Some(node)) => Target::Tcp(node.clone()),
            (Address::Tcp { host, port }, None) => Target::Tcp(Node::new(host, *port)),
            (Address::Unix(path), None) => Target::Unix(path.clone()),
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

    /// Whether a server is asked what its scripts may touch.
    pub(crate) fn is_asked_for_reach(&self) -> bool {
        self.probe.is_some()
    }

    /// Whether the server's scripts may touch one key only, by what it has answered last.
    pub(crate) fn is_one_key(&self) -> bool {
        self.is_one_key.load(SeqCst)
    }

    /// Whether the primary is another one than the last time, which it becomes.
    pub(crate) fn is_another(&self, primary: &Node) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.replace(primary.clone()).is_some_and(|last| last != *primary)
    }

    async fn attempt(
        &self,
        primary: Option<Node>,
        number: u64,
        heard: impl Fn(&PushInfo) + Clone + Send + Sync + 'static,
    ) -> Result<Link> {
        let target = self.target(primary.as_ref());
        let mut why = None;
        // A name may have addresses of several servers, of which one is the primary.
        loop {
            let error = match self.attempt_at(&target, primary.clone(), number, heard.clone()).await
            {
                Ok(link) => return Ok(link),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => error,
            };
            // That an address cannot be reached says less than what another one has answered.
            let most = match why.take() {
                Some(why) if self.progress.step() <= Step::Connection => why,
                _ => error,
            };
            if !self.progress.has_untried() {
                return Err(most);
            }
            why = Some(most);
        }
    }

    /// At any of the addresses that were not tried.
    async fn attempt_at(
        &self,
        target: &Target,
        primary: Option<Node>,
        number: u64,
        heard: impl Fn(&PushInfo) + Clone + Send + Sync + 'static,
    ) -> Result<Link> {
        let (wire, protocol, reached) =
            self.door.open(target, &self.progress, &self.address, heard).await?;
        let ready = self.make_ready(wire, primary, protocol, number);
        let link =
            ready.await.unwrap_or_else(|error| Err(failure::error(&error, &self.address)))?;
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(reached);
        Ok(link)
    }

    /// Finds out what a connection is good for.
    async fn make_ready(
        &self,
        mut wire: Wire,
        primary: Option<Node>,
        protocol: ProtocolVersion,
        number: u64,
    ) -> RedisResult<Result<Link>> {
        // A name is a convenience: a server that refuses it is used without.
        let name = &self.server.connection_name;
        pipe()
            .cmd("CLIENT")
            .arg("SETNAME")
            .arg(name)
            .ignore_errors()
            .query_async::<Vec<Value>>(&mut wire)
            .await?;
        let mut ask = pipe();
        ask.cmd("ROLE").cmd("EVALSHA").arg(NO_SCRIPT).arg(0).cmd("EVAL").arg("return 1").arg(0);
        if let Some(probe) = &self.probe {
            probe.ask(&mut ask);
        }
        if protocol == ProtocolVersion::RESP3 {
            ask.cmd("HELLO");
        }
        let answers: Vec<Value> = ask.ignore_errors().query_async(&mut wire).await?;
        let at = &self.address;
        let hello = |field| answers.last().and_then(|hello| told(hello, field));
        match hello("mode").as_deref() {
            Some("cluster") if self.probe.is_some() => {
                return Ok(Err(failure::cluster_node_error(at)));
            }
            Some("sentinel") => return Ok(Err(failure::sentinel_error(at))),
            _ => {}
        }
        // A replica may lag behind, or have been cut off without knowing it: what it holds proves
        // nothing.
        match Role::from_answer(answers.first(), &mut wire).await? {
            Role::Replica => return Ok(Err(failure::read_only_error(&format!("Redis at {at}")))),
            Role::Sentinel => return Ok(Err(failure::sentinel_error(at))),
            Role::Primary | Role::Unknown => {}
        }
        if let Some(lack) =
            answers[1..3].iter().find_map(|answer| failure::missing_scripts_error(answer, at))
        {
            return Ok(Err(lack));
        }
        if let Some(error) =
            version::too_old(&mut wire, hello("version"), &self.index_key, at).await?
        {
            return Ok(Err(error));
        }
        if self.probe.is_some()
            && let Some(is_one_key) = reach::is_one_key(&answers[3..])
        {
            self.is_one_key.store(is_one_key, SeqCst);
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

/// No script has this digest.
const NO_SCRIPT: &str = "0000000000000000000000000000000000000000";

/// A field of an answer to HELLO: `mode` (`standalone`, `cluster` or `sentinel`), `version`.
fn told(hello: &Value, field: &str) -> Option<String> {
    let Value::Map(fields) = hello else { return None };
    let is_field =
        |name: &Value| String::from_redis_value_ref(name).is_ok_and(|name| name == field);
    let (_, value) = fields.iter().find(|(name, _)| is_field(name))?;
    String::from_redis_value_ref(value).ok()
}

/// How to get into a server: over what, and as whom.
pub(crate) struct Door {
    secure: Option<Secure>,
    keep_alive: Option<Duration>,
    logins: Logins,
    timeout: Duration,
}

impl Door {
    /// Of a server's data.
    pub(crate) fn new(config: &Config, server: &Server, credentials: &Credentials) -> Self {
        let settings =
            login(server.username.as_deref(), server.password.as_deref()).set_db(server.db.into());
        let function = server.asks_for_login.then(|| credentials.clone());
        Door {
            secure: server.tls.as_ref().map(Secure::new),
            keep_alive: server.keep_alive,
            logins: Logins::new(settings, function, config.connect_timeout),
            timeout: config.connect_timeout,
        }
    }

    /// Of the sentinels of a server.
    pub(crate) fn of_sentinels(config: &Config, server: &Server, own: &SentinelLogin) -> Self {
        Door {
            secure: server.tls.as_ref().filter(|_| own.tls).map(Secure::new),
            keep_alive: None,
            logins: Logins::new(
                login(own.username.as_deref(), own.password.as_deref()),
                None,
                config.connect_timeout,
            ),
            timeout: config.connect_timeout,
        }
    }

    /// A connection, what is spoken on it (RESP3 if the server does), and where it leads. `at`: the
    /// server, as messages name it.
    async fn open(
        &self,
        target: &Target,
        progress: &Progress,
        at: &str,
        heard: impl Fn(&PushInfo) + Clone + Send + Sync + 'static,
    ) -> Result<(Wire, ProtocolVersion, Target)> {
        let stream = self.stream(target, progress, at).await?;
        let reached = stream.leads_to(target);
        // Only now that there is somebody to log in to: what is asked may cost more than a
        // connection.
        let Expiring { login, expires_at } = self.login(progress).await?;
        let resp3 = login.clone().set_protocol(ProtocolVersion::RESP3);
        let (wire, protocol) = match Wire::login(stream, &resp3, Some(heard), at).await {
            Ok(wire) => (wire, ProtocolVersion::RESP3),
            Err(refusal) if refusal.no_resp3 => {
                let stream = self.stream(&reached, progress, at).await?;
                progress.reaches(Step::Login);
                let wire = Wire::login(stream, &login, NOBODY, at)
                    .await
                    .map_err(|refusal| refusal.error)?;
                (wire, ProtocolVersion::RESP2)
            }
            Err(refusal) => return Err(refusal.error),
        };
        if let Some(expires_at) = expires_at {
            wire.stay_logged_in(&self.logins, expires_at);
        }
        Ok((wire, protocol, reached))
    }

    /// Asks one server, on a connection of its own. `patience`: for each of its answers.
    pub(crate) async fn ask<T: FromRedisValue>(
        &self,
        node: &Node,
        at: &str,
        patience: Duration,
        question: &Pipeline,
    ) -> Result<RedisResult<T>> {
        let mut wire = self.enter(node, at, patience).await?;
        let late = |_| {
            let what = format!("Redis at {at} cannot be reached: {}", Step::Login.words());
            Error::new(Code::Unavailable, what)
        };
        timeout(patience, question.query_async(&mut wire)).await.map_err(late)
    }

    /// A connection to one server, for questions. `patience`: for each of its answers.
    pub(crate) async fn enter(&self, node: &Node, at: &str, patience: Duration) -> Result<Wire> {
        let progress = Progress::new();
        let late = |_| {
            let what = format!("Redis at {at} cannot be reached: {}", progress.step().words());
            Error::new(Code::Unavailable, what)
        };
        let stream = timeout(patience, self.stream(&Target::Tcp(node.clone()), &progress, at))
            .await
            .map_err(late)??;
        let Expiring { login, .. } =
            timeout(self.timeout, self.login(&progress)).await.map_err(late)??;
        let entered =
            timeout(patience, Wire::login(stream, &login, NOBODY, at)).await.map_err(late)?;
        entered.map_err(|refusal| refusal.error)
    }

    async fn stream(&self, target: &Target, progress: &Progress, at: &str) -> Result<Stream> {
        Stream::open(target, self.secure.as_ref(), self.keep_alive, progress, at).await
    }

    /// As whom.
    async fn login(&self, progress: &Progress) -> Result<Expiring> {
        if self.logins.asks() {
            progress.reaches(Step::Credentials);
        }
        let login = self.logins.next().await?;
        progress.reaches(Step::Login);
        Ok(login)
    }
}

/// Nobody hears what such a connection is told.
const NOBODY: Option<fn(&PushInfo)> = None;

fn login(username: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    login
}
