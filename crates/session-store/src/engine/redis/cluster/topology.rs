//! A cluster: which of its servers a key lies on, asked of the servers themselves, and a connection
//! to each of its primaries.
//!
//! One server is asked every second whether all is as before, and a few of them who holds what:
//! when it is not, every now and then, and as soon as one of them sends a caller on or cannot be
//! reached. Those that are not connected are asked at the pace of any attempt to connect
//! (`pace.rs`). Whoever asks for a key waits for its server as for a single one (`supervisor.rs`),
//! and for another one if the key has one meanwhile.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use fail::fail_point;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::slots::{SLOTS, Slots, slot};
use crate::cache::{Flush, NearCache};
use crate::config::{Address, Config, Server};
use crate::credentials::Credentials;
use crate::engine::redis::connection::dialer::Dialer;
use crate::engine::redis::connection::node::Node;
use crate::engine::redis::connection::pace::ReconnectPace;
use crate::engine::redis::connection::supervisor::Supervisor;
use crate::engine::redis::failure;
use crate::engine::redis::route::{Route, ServerLink};
use crate::engine::redis::tracking::Feed;
use crate::error::{Code, Error, Result};
use crate::events::{EventKind, Events};
use crate::guarded::{again_after_panics, defect, unless_panicked};

/// How often there is a round of questions (as often as there are heartbeats, if these are rarer),
/// and how often at most when somebody needs to know.
const POLL: Duration = Duration::from_secs(1);
const LEAST_POLL: Duration = Duration::from_millis(50);
/// How often while the cluster is not well: it is about to choose a new primary.
const POLL_UNWELL: Duration = Duration::from_millis(250);

/// After a change, so many rounds ask who holds what: servers hear of it one after the other.
/// Later, one round of so many does.
const ROUNDS_UNTIL_CALM: u32 = 3;
const ROUNDS_IN_CALM: u32 = 10;

/// How many servers that are connected are asked: one may stand still, or know less than the
/// others.
const ASKED_AT_ONCE: usize = 3;

/// How long one server may take to answer: on the connection that is there, and on a new one.
const PATIENCE: Duration = Duration::from_millis(250);
const PATIENCE_ANEW: Duration = Duration::from_secs(1);

/// A primary, and the connection to it.
#[derive(Clone)]
pub(crate) struct Primary {
    node: Node,
    pub(crate) server: Supervisor,
}

/// Who holds which slots, with connections to them.
#[derive(Clone, Default)]
struct Map {
    slots: Slots,
    /// In the order of `slots.nodes`.
    servers: Vec<Supervisor>,
}

impl Map {
    fn owner(&self, slot: u16) -> Option<Primary> {
        let place = usize::from(self.slots.place(slot)?);
        Some(Primary { node: self.slots.nodes[place].clone(), server: self.servers[place].clone() })
    }

    fn server(&self, node: &Node) -> Option<&Supervisor> {
        let place = self.slots.nodes.iter().position(|known| known == node)?;
        self.servers.get(place)
    }

    fn primaries(&self) -> Vec<Primary> {
        let both = self.slots.nodes.iter().zip(&self.servers);
        both.map(|(node, server)| Primary { node: node.clone(), server: server.clone() }).collect()
    }
}

#[derive(Clone, Default)]
struct Known {
    map: Arc<Map>,
    /// How often the servers have been asked.
    rounds: u64,
    /// Why the last round found out nothing.
    why: Option<Error>,
}

/// The servers of a cluster.
pub(crate) struct Cluster(Arc<Shared>);

struct Shared {
    config: Config,
    server: Server,
    credentials: Credentials,
    /// For the seeds.
    dialer: Dialer,
    seeds: Vec<Node>,
    cache: Option<Arc<NearCache>>,
    key_prefix: String,
    known: watch::Sender<Known>,
    /// Servers that are about to get a slot and hold none yet.
    guests: Mutex<HashMap<Node, Supervisor>>,
    is_at_work: AtomicBool,
    asked: Arc<Notify>,
    events: Events,
}

impl Cluster {
    /// `credentials`: who is asked for user name and password; `cache`: what is to hear of every
    /// change; `events`: of what happens to the connections.
    pub(crate) fn new(
        config: &Config,
        server: &Server,
        credentials: &Credentials,
        key_prefix: &str,
        cache: Option<Arc<NearCache>>,
        events: Events,
    ) -> Self {
        let seeds = match &server.address {
            Address::Cluster { nodes } => {
                nodes.iter().map(|(host, port)| Node::new(host, *port)).collect()
            }
            _ => Vec::new(),
        };
        Cluster(Arc::new(Shared {
            config: config.clone(),
            server: server.clone(),
            credentials: credentials.clone(),
            dialer: Dialer::new(config, server, credentials),
            seeds,
            cache,
            key_prefix: key_prefix.to_owned(),
            known: watch::Sender::default(),
            guests: Mutex::default(),
            is_at_work: AtomicBool::new(false),
            asked: Arc::default(),
            events,
        }))
    }

    async fn owner(&self, slot: u16) -> Result<Primary> {
        let known = self.0.known.borrow().map.owner(slot);
        match known {
            Some(primary) => Ok(primary),
            None => self.0.wait(Some(slot)).await,
        }
    }
}

impl Route for Cluster {
    async fn link_for(&self, key: &str) -> Result<ServerLink> {
        let slot = slot(key);
        loop {
            let Primary { node, server } = self.owner(slot).await?;
            if let Some(link) = server.live() {
                return Ok(ServerLink { server, link });
            }
            self.0.asked.notify_one();
            let mut known = self.0.known.subscribe();
            let is_other =
                |known: &Known| known.map.owner(slot).is_none_or(|owner| owner.node != node);
            let moved = async {
                if known.wait_for(is_other).await.is_err() {
                    pending().await
                }
            };
            tokio::select! {
                link = server.link() => return link.map(|link| ServerLink { server, link }),
                () = moved => {}
            }
        }
    }

    async fn follow_redirect(
        &self,
        from: &ServerLink,
        refusal: &RedisError,
    ) -> Result<Option<ServerLink>> {
        let told = || failure::error(refusal, from.server.address());
        let (address, slot) = refusal.redirect_node().ok_or_else(told)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(told)?;
        let port = port.parse().map_err(|_| told())?;
        // No host: the one that was asked.
        let host = if host.is_empty() { from.server.host() } else { host.trim_matches(['[', ']']) };
        let node = Node::reached(&self.0.server.nat_map, host, port);
        if refusal.kind() == ::redis::ErrorKind::Server(ServerErrorKind::Moved) {
            self.0.moved(slot, node);
            return Ok(None);
        }
        let server = self.0.known.borrow().map.server(&node).cloned();
        let server = server.unwrap_or_else(|| self.0.guest(node));
        let mut link = server.link().await?;
        link.connection.asking = true;
        // What is read there is not told of later: the announcement cannot be joined with the one
        // of tracking.
        link.is_tracked = false;
        Ok(Some(ServerLink { server, link }))
    }

    /// By their addresses.
    async fn primaries(&self) -> Result<Vec<Supervisor>> {
        self.wait_until_known().await?;
        Ok(self.0.known.borrow().map.servers.clone())
    }

    async fn wait_until_known(&self) -> Result<()> {
        let is_known = !self.0.known.borrow().map.servers.is_empty();
        if is_known { Ok(()) } else { self.0.wait(None).await.map(drop) }
    }

    fn server_number(&self, key: &str) -> Option<u16> {
        self.0.known.borrow().map.slots.place(slot(key))
    }

    fn fail_fast(&self) -> Duration {
        self.0.config.reconnect.fail_fast
    }
}

impl Shared {
    fn begin(self: &Arc<Self>) {
        if !self.is_at_work.swap(true, SeqCst) {
            let shared = Arc::downgrade(self);
            tokio::spawn(again_after_panics(move || keep_up(shared.clone())));
        }
    }

    /// Until the primary of a slot is known, or any.
    async fn wait(self: &Arc<Self>, slot: Option<u16>) -> Result<Primary> {
        let mut known = self.known.subscribe();
        let came = known.borrow().rounds;
        self.begin();
        self.asked.notify_one();
        let until = Instant::now() + self.config.reconnect.fail_fast;
        loop {
            let Known { map, rounds, why } = known.borrow_and_update().clone();
            let found = match slot {
                Some(slot) => map.owner(slot),
                None => map.primaries().into_iter().next(),
            };
            if let Some(primary) = found {
                return Ok(primary);
            }
            let is_told = why.as_ref().is_some_and(failure::is_permanent) && rounds > came;
            if rounds > 0 && (is_told || Instant::now() >= until) {
                return Err(why.unwrap_or_else(|| self.unserved()));
            }
            let changed = match rounds {
                0 => known.changed().await,
                _ => timeout_at(until, known.changed()).await.unwrap_or(Ok(())),
            };
            if changed.is_err() {
                return Err(Error::new(Code::Closed, "the store was closed"));
            }
        }
    }

    fn unserved(&self) -> Error {
        let what = "no server of the cluster holds this key now: CLUSTER INFO and CLUSTER SLOTS tell what is wrong";
        Error::new(Code::Unavailable, what)
    }

    /// Asks the servers who holds what, unless all is as before. Answers how soon to ask again.
    async fn round(&self, seeds: &mut Seeds, calm: &mut Calm) -> Duration {
        let poll = POLL.max(self.config.heartbeat);
        let asked = async {
            fail_point!("redis-ask-cluster");
            if calm.lasts() && self.is_as_before(calm).await {
                return Ok(None);
            }
            self.ask(seeds).await.map(Some)
        };
        let found = match unless_panicked(asked).await.unwrap_or_else(|| Err(defect())) {
            Ok(Some(view)) => Ok(view),
            Ok(None) => {
                calm.rounds += 1;
                return poll;
            }
            Err(why) => Err(why),
        };
        let mut poll =
            if found.as_ref().is_ok_and(|view| !view.is_well) { POLL_UNWELL } else { poll };
        let why = match found {
            Ok(View { slots, state, is_well }) => {
                let known = self.known.borrow().clone();
                if known.rounds > 0 && known.map.servers.is_empty() {
                    self.events
                        .tell(EventKind::Ready, "the cluster's servers are known".to_owned());
                }
                let is_other = self.known.send_if_modified(|known| self.install(known, slots));
                calm.found(state.filter(|_| is_well), is_other);
                None
            }
            Err(why) => {
                poll = poll.min(seeds.due.saturating_duration_since(Instant::now()));
                calm.ends();
                if self.known.borrow().rounds == 0 {
                    self.events.tell(EventKind::Down, why.to_string());
                }
                Some(why)
            }
        };
        self.known.send_modify(|known| {
            known.rounds += 1;
            known.why = why;
        });
        poll
    }

    /// Whether one of the servers that are connected sees the cluster as it was seen before.
    async fn is_as_before(&self, calm: &Calm) -> bool {
        let connected = self.known.borrow().map.servers.clone();
        let Some(mut link) = fastrand::choice(&connected).and_then(Supervisor::live) else {
            return false;
        };
        let mut question = ::redis::cmd("CLUSTER");
        let info =
            timeout(PATIENCE, question.arg("INFO").query_async::<String>(&mut link.connection))
                .await;
        matches!(info, Ok(Ok(info)) if calm.state.as_ref() == Some(&state(&info)))
    }

    /// A few of those that are connected are asked at once; if none of them is well, those that the
    /// store was given.
    async fn ask(&self, seeds: &mut Seeds) -> Result<View> {
        let question = &question();
        let mut connected = self.known.borrow().map.primaries();
        fastrand::shuffle(&mut connected);
        let live = connected
            .into_iter()
            .filter_map(|Primary { node, server }| Some((node, server.live()?)));
        let asked = live.take(ASKED_AT_ONCE).map(|(node, mut link)| async move {
            let answers = timeout(PATIENCE, question.query_async(&mut link.connection)).await;
            self.view(&node, answers.map_err(|_| None)?)
        });
        let known = match first_well(asked).await {
            Ok(view) if view.is_well => {
                seeds.pace.record_success();
                return Ok(view);
            }
            view => view.ok(),
        };
        let began = Instant::now();
        if began < seeds.due {
            let why = || self.known.borrow().why.clone().unwrap_or_else(|| self.unreachable());
            return known.ok_or_else(why);
        }
        let patience =
            if known.is_some() { PATIENCE } else { PATIENCE_ANEW.min(self.config.connect_timeout) };
        let asked = self.seeds.iter().map(|node| async move {
            match self.dialer.query_once(node, &node.to_string(), patience, question).await {
                Ok(answers) => self.view(node, answers),
                Err(error) => Err(Some(error)),
            }
        });
        let found = first_well(asked).await;
        if matches!(&found, Ok(view) if view.is_well) {
            seeds.pace.record_success();
            seeds.due = began;
        } else {
            seeds.pace.record_failure(began);
            seeds.due = seeds.pace.next_attempt(began);
        }
        match (found, known) {
            (Ok(view @ View { is_well: true, .. }), _) | (_, Some(view)) | (Ok(view), None) => {
                Ok(view)
            }
            // That one cannot be reached says little.
            (Err(why), None) => Err(match why {
                Some(why) if why.code != Code::Unavailable => why,
                Some(cause) => self.unreachable().caused_by(&cause),
                None => self.unreachable(),
            }),
        }
    }

    /// Of the answers of a server to [`question`]. Without an error: it did not answer.
    fn view(
        &self,
        node: &Node,
        answers: RedisResult<Vec<Value>>,
    ) -> std::result::Result<View, Option<Error>> {
        let told = |error: RedisError| {
            Some(
                no_cluster(&error, node)
                    .unwrap_or_else(|| failure::error(&error, &node.to_string())),
            )
        };
        let mut answers = answers.map_err(told)?;
        let slots = answers.pop().unwrap_or(Value::Nil).extract_error().map_err(told)?;
        let slots =
            Slots::told(node, &slots, &self.server.nat_map).ok_or_else(|| Some(self.unserved()))?;
        let info = answers.pop().and_then(|info| String::from_redis_value(info).ok());
        let is_well = !info.as_ref().is_some_and(|info| info.contains("cluster_state:fail"));
        Ok(View { slots, is_well, state: info.map(|info| state(&info)) })
    }

    fn unreachable(&self) -> Error {
        let seeds: Vec<_> = self.seeds.iter().map(Node::to_string).collect();
        let what = "none of the cluster's servers can be reached";
        let seeds = seeds.join(", ");
        Error::new(
            Code::Unavailable,
            format!("{what}: {seeds}; check that they run and that cluster is right"),
        )
    }

    /// A slot has another primary. One that is new here is made known by the next round.
    fn moved(&self, slot: u16, node: Node) {
        if slot < SLOTS {
            self.known.send_if_modified(|known| {
                let Map { slots, .. } = &*known.map;
                let is_news = slots.nodes.contains(&node) && slots.owner(slot) != Some(&node);
                is_news && self.install(known, slots.moved(slot, node))
            });
        }
        self.asked.notify_one();
    }

    /// Puts a map into force; whether it is another one.
    fn install(&self, known: &mut Known, slots: Slots) -> bool {
        let old = known.map.clone();
        if old.slots == slots {
            return false;
        }
        let server = |(place, node): (usize, &Node)| {
            let holds = |key: &str| slots.place(slot(key)).map(usize::from) == Some(place);
            old.server(node).cloned().unwrap_or_else(|| self.server(node, holds))
        };
        let servers = slots.nodes.iter().enumerate().map(server).collect();
        lock(&self.guests).retain(|node, _| !slots.nodes.contains(node));
        let is_first = old.servers.is_empty();
        if !is_first && old.slots.nodes != slots.nodes {
            let nodes: Vec<_> = slots.nodes.iter().map(Node::to_string).collect();
            self.events.tell(
                EventKind::Failover,
                format!("the cluster's primaries are {} now", nodes.join(", ")),
            );
        }
        known.map = Arc::new(Map { slots, servers });
        // What was read by the old map is gone before anything is read by the new one.
        if let (Some(cache), false) = (&self.cache, is_first) {
            cache.flush(Flush::Topology);
        }
        true
    }

    /// A connection to a primary.
    fn server(&self, node: &Node, holds: impl Fn(&str) -> bool) -> Supervisor {
        let feed =
            self.cache.clone().map(|cache| Arc::new(Feed::new(cache, &self.key_prefix, holds)));
        let server = Supervisor::new(
            &self.config,
            &node.of(&self.server),
            &self.credentials,
            feed,
            self.events.of_another_connection(),
        );
        // The near cache answers nothing before every primary is heard.
        server.begin();
        server
    }

    /// A connection to a server that is about to get a slot.
    fn guest(&self, node: Node) -> Supervisor {
        let connect = |node: &Node| {
            Supervisor::new(
                &self.config,
                &node.of(&self.server),
                &self.credentials,
                None,
                self.events.of_another_connection(),
            )
        };
        lock(&self.guests).entry(node).or_insert_with_key(connect).clone()
    }
}

/// When those may be asked that the store was given.
struct Seeds {
    pace: ReconnectPace,
    due: Instant,
}

/// What a server says of the cluster.
struct View {
    slots: Slots,
    /// Whether it sees the others. One that has lost sight of them serves nothing, and its map may
    /// be an old one.
    is_well: bool,
    /// What [`state`] makes of its CLUSTER INFO, if it answers that.
    state: Option<String>,
}

/// What servers of a cluster agree on, of an answer to CLUSTER INFO. Another holder of slots, or a
/// server more, changes some of it.
fn state(info: &str) -> String {
    const SHARED: [&str; 5] = [
        "cluster_state",
        "cluster_slots_",
        "cluster_known_nodes",
        "cluster_size",
        "cluster_current_epoch",
    ];
    let is_shared = |line: &&str| SHARED.iter().any(|name| line.starts_with(name));
    info.lines().filter(is_shared).map(str::trim).collect::<Vec<_>>().join(" ")
}

/// For how long nothing has changed.
#[derive(Default)]
struct Calm {
    /// What [`state`] made of the last CLUSTER INFO beside a map.
    state: Option<String>,
    /// How many rounds there were since a change.
    rounds: u32,
}

impl Calm {
    /// Whether the next round may leave the map as it is.
    fn lasts(&self) -> bool {
        self.rounds >= ROUNDS_UNTIL_CALM && !self.rounds.is_multiple_of(ROUNDS_IN_CALM)
    }

    /// `is_other`: whether the map is another one than before.
    fn found(&mut self, state: Option<String>, is_other: bool) {
        let is_change = is_other || state.is_none() || state != self.state;
        self.rounds = if is_change { 0 } else { self.rounds + 1 };
        self.state = state;
    }

    fn ends(&mut self) {
        self.rounds = 0;
    }
}

fn question() -> Pipeline {
    let mut question = Pipeline::new();
    question.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS").ignore_errors();
    question
}

/// The first view of a server that is well; else any view, or the first reason why there is none.
/// That a server refuses us says more than that one cannot be reached: it is what is wrong with
/// all.
async fn first_well<Asked>(asked: impl Iterator<Item = Asked>) -> Asked::Output
where
    Asked: Future<Output = std::result::Result<View, Option<Error>>>,
{
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut best = Err(None);
    while let Some(view) = asked.next().await {
        match &view {
            Ok(View { is_well: true, .. }) => return view,
            Ok(_) => best = view,
            Err(Some(error)) => match &best {
                Err(None) => best = view,
                Err(Some(told))
                    if told.code == Code::Unavailable && error.code != Code::Unavailable =>
                {
                    best = view
                }
                _ => {}
            },
            Err(None) => {}
        }
    }
    best
}

/// Of a server that is part of none.
fn no_cluster(error: &RedisError, node: &Node) -> Option<Error> {
    let is_none = error.detail().is_some_and(|answer| answer.contains("cluster support disabled"));
    let what =
        format!("cluster: the server at {node} is part of no cluster; give it as url or host");
    is_none.then(|| Error::new(Code::InvalidArgument, what))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the servers who holds what, until nobody holds the store.
async fn keep_up(shared: Weak<Shared>) {
    let Some(pace) = shared.upgrade().map(|held| ReconnectPace::new(&held.config.reconnect)) else {
        return;
    };
    let mut seeds = Seeds { pace, due: Instant::now() };
    let mut calm = Calm::default();
    loop {
        fail_point!("redis-keep-up");
        let began = Instant::now();
        let Some(held) = shared.upgrade() else { return };
        let poll = held.round(&mut seeds, &mut calm).await;
        let asked = held.asked.clone();
        drop(held);
        if timeout(poll, asked.notified()).await.is_ok() {
            calm.ends();
        }
        sleep_until(began + LEAST_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str =
        "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:6\r\n";

    #[test]
    fn what_differs_from_server_to_server_is_no_change() {
        let told = |own: &str| state(&format!("{INFO}{own}"));
        assert_eq!(
            told("cluster_my_epoch:1\r\ncluster_stats_messages_sent:5\r\n"),
            told("cluster_my_epoch:2\r\n")
        );
        assert_ne!(told(""), state(&INFO.replace(":6", ":7")));
    }

    #[test]
    fn after_a_change_the_map_is_asked_for_again_and_again_and_later_now_and_then() {
        let mut calm = Calm::default();
        let rounds = |calm: &mut Calm| -> String {
            let round = |_| match calm.lasts() {
                true => {
                    calm.rounds += 1;
                    '.'
                }
                false => {
                    calm.found(Some(state(INFO)), false);
                    'M'
                }
            };
            (0..26).map(round).collect()
        };
        assert_eq!(rounds(&mut calm), "MMMM.......M.........M....");
        calm.ends();
        assert_eq!(rounds(&mut calm), "MMM.......M.........M.....");
        // A server that does not tell how it sees the cluster is asked each time.
        calm.found(None, false);
        assert!(!calm.lasts());
    }
}
