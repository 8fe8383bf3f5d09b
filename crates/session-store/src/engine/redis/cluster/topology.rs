//! The topology of a cluster: which primary holds each slot, and a supervisor for each primary.
//!
//! One server is asked every second whether all is as before (CLUSTER INFO). A few servers are
//! asked for the map (CLUSTER SLOTS) when it is not, every now and then, and as soon as a server
//! redirects a caller or cannot be reached. The seeds are asked where no connected server is well,
//! at the pace of any attempt to connect (`connection/pace.rs`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::{Pipeline, cmd};
use fail::fail_point;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::cluster_view::{ClusterView, ViewResult, first_well, unserved_error};
use super::slot_map::{KnownCluster, Primary, SlotMap};
use super::slots::{SLOTS, SlotOwners, slot};
use super::stability::{Stability, shared_state};
use crate::config::{Address, Config, NatMap, Server};
use crate::credentials::Credentials;
use crate::engine::redis::connection::dialer::Dialer;
use crate::engine::redis::connection::node::Node;
use crate::engine::redis::connection::pace::ReconnectPace;
use crate::engine::redis::connection::supervisor::Supervisor;
use crate::engine::redis::failure;
use crate::engine::redis::tracking::TrackingFeed;
use crate::error::{Code, Error, Result};
use crate::events::{EventKind, Events};
use crate::near_cache::{FlushReason, NearCache};
use crate::panics::{catch_panic, defect, restart_after_panics};
use crate::sync::Mutex;

/// How often there is a round of questions (as often as heartbeats, if these are rarer), and how
/// often at most when a caller needs one.
const POLL: Duration = Duration::from_secs(1);
const MIN_POLL: Duration = Duration::from_millis(50);
/// How often while the cluster is not well: it is about to choose a new primary.
const POLL_UNWELL: Duration = Duration::from_millis(250);

/// How many connected servers are asked for the map: one may stand still, or know less than the
/// others.
const ASKED_AT_ONCE: usize = 3;

/// How long one server may take to answer: on a live connection, and on a new one.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);
const NEW_CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// What is known of a cluster, and what keeps it up to date.
pub(super) struct Topology {
    config: Config,
    server: Server,
    credentials: Credentials,
    /// For the seeds.
    dialer: Dialer,
    /// The servers that the configuration names.
    seeds: Vec<Node>,
    cache: Option<Arc<NearCache>>,
    key_prefix: String,
    known: watch::Sender<KnownCluster>,
    /// Servers that import a slot and hold none yet.
    importing: Mutex<HashMap<Node, Supervisor>>,
    /// Whether the task that asks was started.
    is_started: AtomicBool,
    round_wanted: Arc<Notify>,
    events: Events,
}

/// When the seeds may be asked.
struct SeedPace {
    pace: ReconnectPace,
    due: Instant,
}

impl Topology {
    pub(super) fn new(
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
        Topology {
            config: config.clone(),
            server: server.clone(),
            credentials: credentials.clone(),
            dialer: Dialer::new(config, server, credentials),
            seeds,
            cache,
            key_prefix: key_prefix.to_owned(),
            known: watch::Sender::default(),
            importing: Mutex::default(),
            is_started: AtomicBool::new(false),
            round_wanted: Arc::default(),
            events,
        }
    }

    pub(super) fn known(&self) -> watch::Ref<'_, KnownCluster> {
        self.known.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<KnownCluster> {
        self.known.subscribe()
    }

    pub(super) fn nat_map(&self) -> &NatMap {
        &self.server.nat_map
    }

    pub(super) fn fail_fast(&self) -> Duration {
        self.config.reconnect.fail_fast
    }

    /// Makes the next round begin at once.
    pub(super) fn request_round(&self) {
        self.round_wanted.notify_one();
    }

    fn start(self: &Arc<Self>) {
        if !self.is_started.swap(true, SeqCst) {
            let topology = Arc::downgrade(self);
            tokio::spawn(restart_after_panics(move || keep_up_to_date(topology.clone())));
        }
    }

    /// Waits until the primary of a slot is known, or any primary.
    pub(super) async fn wait_for_primary(self: &Arc<Self>, slot: Option<u16>) -> Result<Primary> {
        let mut known = self.known.subscribe();
        let rounds_before = known.borrow().rounds;
        self.start();
        self.request_round();
        let until = Instant::now() + self.config.reconnect.fail_fast;
        loop {
            let KnownCluster { map, rounds, why } = known.borrow_and_update().clone();
            let found = match slot {
                Some(slot) => map.owner(slot),
                None => map.primaries().into_iter().next(),
            };
            if let Some(primary) = found {
                return Ok(primary);
            }
            let is_permanent =
                why.as_ref().is_some_and(failure::is_permanent) && rounds > rounds_before;
            if rounds > 0 && (is_permanent || Instant::now() >= until) {
                return Err(why.unwrap_or_else(unserved_error));
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

    /// One round: asks for the map, unless all is as before. Returns when the next round is due.
    async fn round(&self, seeds: &mut SeedPace, stability: &mut Stability) -> Duration {
        let poll = POLL.max(self.config.heartbeat);
        let asked = async {
            fail_point!("redis-ask-cluster");
            if stability.can_skip_map() && self.is_state_unchanged(stability).await {
                return Ok(None);
            }
            self.ask(seeds).await.map(Some)
        };
        match catch_panic(asked).await.unwrap_or_else(|| Err(defect())) {
            Ok(Some(view)) => {
                let poll = if view.is_well { poll } else { POLL_UNWELL };
                self.record_view(view, stability);
                poll
            }
            Ok(None) => {
                stability.record_same_state();
                poll
            }
            Err(why) => {
                let poll = poll.min(seeds.due.saturating_duration_since(Instant::now()));
                stability.reset();
                self.record_failure(why);
                poll
            }
        }
    }

    fn record_view(&self, view: ClusterView, stability: &mut Stability) {
        let ClusterView { slots, state, is_well } = view;
        let known = self.known.borrow().clone();
        if known.rounds > 0 && known.map.servers.is_empty() {
            self.events.publish(EventKind::Ready, "the cluster's servers are known".to_owned());
        }
        let is_other = self.known.send_if_modified(|known| self.install(known, slots));
        stability.record_map(state.filter(|_| is_well), is_other);
        self.end_round(None);
    }

    fn record_failure(&self, why: Error) {
        if self.known.borrow().rounds == 0 {
            self.events.publish(EventKind::Down, why.to_string());
        }
        self.end_round(Some(why));
    }

    fn end_round(&self, why: Option<Error>) {
        self.known.send_modify(|known| {
            known.rounds += 1;
            known.why = why;
        });
    }

    /// Asks one connected server whether the cluster's state is as before. `false` also if there is
    /// no answer.
    async fn is_state_unchanged(&self, stability: &Stability) -> bool {
        let connected = self.known.borrow().map.servers.clone();
        let Some(mut link) = fastrand::choice(&connected).and_then(Supervisor::live_link) else {
            return false;
        };
        let mut info = cmd("CLUSTER");
        let info = info.arg("INFO").query_async::<String>(&mut link.connection);
        let info = timeout(ANSWER_TIMEOUT, info).await;
        matches!(info, Ok(Ok(info)) if stability.is_same_state(&shared_state(&info)))
    }

    /// Asks a few connected servers at once; if none of them is well, the seeds.
    async fn ask(&self, seeds: &mut SeedPace) -> Result<ClusterView> {
        let commands = ClusterView::commands();
        let known = match self.ask_connected(&commands).await {
            Ok(view) if view.is_well => {
                seeds.pace.record_success();
                return Ok(view);
            }
            view => view.ok(),
        };
        let began = Instant::now();
        if began < seeds.due {
            let why = || self.known.borrow().why.clone();
            return known.ok_or_else(|| why().unwrap_or_else(|| self.unreachable_error()));
        }
        let answer_timeout = match known {
            Some(_) => ANSWER_TIMEOUT,
            None => NEW_CONNECTION_TIMEOUT.min(self.config.connect_timeout),
        };
        let found = self.ask_seeds(&commands, answer_timeout).await;
        if matches!(&found, Ok(view) if view.is_well) {
            seeds.pace.record_success();
            seeds.due = began;
        } else {
            seeds.pace.record_failure(began);
            seeds.due = seeds.pace.next_attempt(began);
        }
        match (found, known) {
            (Ok(view @ ClusterView { is_well: true, .. }), _)
            | (_, Some(view))
            | (Ok(view), None) => Ok(view),
            // That one server cannot be reached says little.
            (Err(why), None) => Err(match why {
                Some(why) if why.code != Code::Unavailable => why,
                Some(cause) => self.unreachable_error().caused_by(&cause),
                None => self.unreachable_error(),
            }),
        }
    }

    async fn ask_connected(&self, commands: &Pipeline) -> ViewResult {
        let mut connected = self.known.borrow().map.primaries();
        fastrand::shuffle(&mut connected);
        let live = connected
            .into_iter()
            .filter_map(|Primary { node, server }| Some((node, server.live_link()?)));
        let asked = live.take(ASKED_AT_ONCE).map(|(node, mut link)| async move {
            let answers = timeout(ANSWER_TIMEOUT, commands.query_async(&mut link.connection)).await;
            ClusterView::from_answers(&node, answers.map_err(|_| None)?, self.nat_map())
        });
        first_well(asked).await
    }

    async fn ask_seeds(&self, commands: &Pipeline, answer_timeout: Duration) -> ViewResult {
        let asked = self.seeds.iter().map(|node| async move {
            match self.dialer.query_once(node, &node.to_string(), answer_timeout, commands).await {
                Ok(answers) => ClusterView::from_answers(node, answers, self.nat_map()),
                Err(error) => Err(Some(error)),
            }
        });
        first_well(asked).await
    }

    fn unreachable_error(&self) -> Error {
        let seeds: Vec<_> = self.seeds.iter().map(Node::to_string).collect();
        let what = "none of the cluster's servers can be reached";
        let seeds = seeds.join(", ");
        Error::new(
            Code::Unavailable,
            format!("{what}: {seeds}; check that they run and that cluster is right"),
        )
    }

    /// Records that a slot has another primary. A primary without slots so far is left to the next
    /// round, which begins at once.
    pub(super) fn record_moved_slot(&self, slot: u16, node: Node) {
        if slot < SLOTS {
            self.known.send_if_modified(|known| {
                let SlotMap { slots, .. } = &*known.map;
                let is_news = slots.nodes.contains(&node) && slots.owner(slot) != Some(&node);
                is_news && self.install(known, slots.with_moved_slot(slot, node))
            });
        }
        self.request_round();
    }

    /// Installs a map. Returns whether it is another one than before.
    fn install(&self, known: &mut KnownCluster, slots: SlotOwners) -> bool {
        let old = known.map.clone();
        if old.slots == slots {
            return false;
        }
        let server = |(index, node): (usize, &Node)| {
            let holds = |key: &str| slots.owner_index(slot(key)).map(usize::from) == Some(index);
            old.server(node).cloned().unwrap_or_else(|| self.new_primary(node, holds))
        };
        let servers = slots.nodes.iter().enumerate().map(server).collect();
        self.importing.lock().retain(|node, _| !slots.nodes.contains(node));
        let is_first = old.servers.is_empty();
        if !is_first && old.slots.nodes != slots.nodes {
            let nodes: Vec<_> = slots.nodes.iter().map(Node::to_string).collect();
            self.events.publish(
                EventKind::Failover,
                format!("the cluster's primaries are {} now", nodes.join(", ")),
            );
        }
        known.map = Arc::new(SlotMap { slots, servers });
        for (node, server) in old.slots.nodes.iter().zip(&old.servers) {
            if known.map.server(node).is_none() {
                server.leave_near_cache();
            }
        }
        // What was read by the old map is gone before anything is read by the new one.
        if let (Some(cache), false) = (&self.cache, is_first) {
            cache.flush(FlushReason::Topology);
        }
        true
    }

    /// A supervisor for a primary, with a feed for the near cache. `holds`: whether a key lies
    /// there.
    fn new_primary(&self, node: &Node, holds: impl Fn(&str) -> bool) -> Supervisor {
        let feed = self
            .cache
            .clone()
            .map(|cache| Arc::new(TrackingFeed::new(cache, &self.key_prefix, holds)));
        let server = self.new_supervisor(node, feed);
        // The near cache answers nothing before every primary's feed is on.
        server.start();
        server
    }

    /// A supervisor for a server that imports a slot.
    pub(super) fn importing_server(&self, node: Node) -> Supervisor {
        let connect = |node: &Node| self.new_supervisor(node, None);
        self.importing.lock().entry(node).or_insert_with_key(connect).clone()
    }

    fn new_supervisor(&self, node: &Node, feed: Option<Arc<TrackingFeed>>) -> Supervisor {
        let server = node.server_settings(&self.server);
        let events = self.events.of_another_connection();
        Supervisor::new(&self.config, &server, &self.credentials, feed, events)
    }
}

/// Asks round after round, until the store is dropped.
async fn keep_up_to_date(topology: Weak<Topology>) {
    let Some(pace) = topology.upgrade().map(|held| ReconnectPace::new(&held.config.reconnect))
    else {
        return;
    };
    let mut seeds = SeedPace { pace, due: Instant::now() };
    let mut stability = Stability::default();
    loop {
        fail_point!("redis-keep-up");
        let began = Instant::now();
        let Some(held) = topology.upgrade() else { return };
        let poll = held.round(&mut seeds, &mut stability).await;
        let round_wanted = held.round_wanted.clone();
        drop(held);
        if timeout(poll, round_wanted.notified()).await.is_ok() {
            stability.reset();
        }
        sleep_until(began + MIN_POLL).await;
    }
}
