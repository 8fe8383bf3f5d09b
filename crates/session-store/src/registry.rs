//! One store per configuration and process: every module graph, hot reload and worker thread that
//! asks for the same settings gets the same connection.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use tokio::sync::oneshot;

use crate::cache::{Hit, NearCache, NearCacheMetrics, Shared};
use crate::command::{Command, Reply, Values};
use crate::config::{self, Address, Config, Server, Target};
use crate::credentials::{Credentials, Provider, Registration};
use crate::engine::memory::MemoryEngine;
use crate::engine::redis::cluster::cluster_engine;
use crate::engine::redis::standalone::StandaloneEngine;
use crate::engine::{Engine, Keyspace};
use crate::error::{Error, Result};
use crate::events::{Events, Listener};
use crate::store::{Connected, Store};

/// Something under way, on the tokio runtime that polls it.
pub type Running<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// Takes some of the values that are read together, and whether they are the last. Answers what is
/// waited for before more are read: so no more than one part is in memory.
pub type Take = Box<dyn FnMut(Values, bool) -> Option<oneshot::Receiver<()>> + Send>;

/// A store, whatever its engine. Its connection ends with the last handle.
pub trait Sessions: Send + Sync {
    /// Carries out a command.
    fn run(self: Arc<Self>, command: Command) -> Running<Reply>;

    /// What several keys hold. `keys` are separated by NUL. `take` is called with some of them
    /// after the others, in their order. `is_trusted`: no stranger chose the keys; else they are
    /// tracked only once they were seen to be sessions.
    fn read(self: Arc<Self>, keys: String, is_trusted: bool, take: Take) -> Running<()>;

    /// Tells a caller's clock (ms since the epoch). A store in this process's memory follows it.
    fn follow_clock(&self, now_ms: i64);

    /// Tells how long sessions live, in ms: a user's not-before marker then lives as long.
    fn expect_life(&self, ms: u64);

    /// What a key holds, if the near cache knows.
    fn cached(&self, key: &str) -> Option<Hit>;

    /// For how many ms what [`Sessions::cached`] answered may be answered again, while [`Shared`]
    /// says that nothing has changed.
    fn life_ms(&self, key: &str) -> f64;

    /// What threads that keep copies of the near cache's answers must look at, and the near cache's
    /// settings. `None`: there is none.
    fn shared(&self) -> Option<(Arc<Shared>, config::NearCache)>;

    /// How the store stands, as JSON.
    fn metrics(&self) -> String;

    /// What happens to its connection from now on. `None`: it has none.
    fn listen(&self) -> Option<Listener>;

    /// From now on this one is asked for user name and password (option `credentials`), until the
    /// registration is dropped. `None`: the store has no connection.
    fn register(&self, provider: Arc<dyn Provider>) -> Option<Registration>;
}

impl<E: Engine> Sessions for Store<E> {
    fn run(self: Arc<Self>, command: Command) -> Running<Reply> {
        Box::pin(async move {
            let _entered = self.enter(1)?;
            Store::run(&self, command).await
        })
    }

    fn read(self: Arc<Self>, keys: String, is_trusted: bool, take: Take) -> Running<()> {
        Box::pin(async move {
            let keys: Vec<_> = keys.split('\0').collect();
            let entered = self.enter(keys.len())?;
            self.read_in_parts(&keys, is_trusted, entered, take).await
        })
    }

    fn follow_clock(&self, now_ms: i64) {
        Store::follow_clock(self, now_ms);
    }

    fn expect_life(&self, ms: u64) {
        Store::expect_life(self, ms);
    }

    fn cached(&self, key: &str) -> Option<Hit> {
        Store::cached(self, key)
    }

    fn life_ms(&self, key: &str) -> f64 {
        self.near_cache().map_or(0.0, |cache| cache.life_ms(key))
    }

    fn shared(&self) -> Option<(Arc<Shared>, config::NearCache)> {
        self.near_cache().map(|cache| (cache.shared(), cache.settings().clone()))
    }

    fn metrics(&self) -> String {
        let near_cache = self.near_cache().map_or_else(NearCacheMetrics::none, NearCache::metrics);
        let (revoke, journal) = (self.revoke_metrics(), self.journal_metrics());
        let (refused, degraded) = (self.refused_writes(), self.degraded_metrics());
        serde_json::json!({
            "nearCache": near_cache, "revoke": revoke, "journal": journal, "refusedWrites": refused, "degraded": degraded,
        })
        .to_string()
    }

    fn listen(&self) -> Option<Listener> {
        self.connected().map(|connected| connected.events.listen())
    }

    fn register(&self, provider: Arc<dyn Provider>) -> Option<Registration> {
        self.connected().map(|connected| connected.credentials.register(provider))
    }
}

static OPEN: LazyLock<Mutex<HashMap<Config, Weak<dyn Sessions>>>> = LazyLock::new(Mutex::default);

/// The store of these settings; the one that is open, if one is. Connects to nothing yet.
///
/// # Errors
/// `INVALID_ARGUMENT` when a prefix of its keys begins with one of an open store on the same server
/// and database, or the reverse.
pub fn open(config: Config) -> Result<Arc<dyn Sessions>> {
    let mut stores = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = stores.get(&config).and_then(Weak::upgrade) {
        return Ok(store);
    }
    stores.retain(|_, store| store.strong_count() > 0);
    if let Some(problem) = stores.keys().find_map(|open| nested(&config, open)) {
        return Err(Error::invalid(problem));
    }
    let store = build(&config);
    stores.insert(config, Arc::downgrade(&store));
    Ok(store)
}

/// What is wrong when two stores would reach each other's keys.
fn nested(config: &Config, open: &Config) -> Option<String> {
    if !is_same_place(&config.target, &open.target) {
        return None;
    }
    let [own, others] =
        [config, open].map(|it| [("keyPrefix", &it.key_prefix), ("userPrefix", &it.user_prefix)]);
    for (option, prefix) in own {
        for (other_option, other) in others {
            // Stores of one application have the same prefixes.
            let is_same = option == other_option && prefix == other;
            if !is_same && (prefix.starts_with(&**other) || other.starts_with(&**prefix)) {
                return Some(format!(
                    "{option}: {prefix:?} and {other_option} {other:?} of an open store on the same server and database share keys; \
                     give each application prefixes of which none begins with another"
                ));
            }
        }
    }
    None
}

fn is_same_place(one: &Target, other: &Target) -> bool {
    match (one, other) {
        (Target::Redis(one), Target::Redis(other)) => {
            one.db == other.db && is_same_server(one, other)
        }
        // Stores in memory of different settings share nothing. The same settings on Redis would.
        (one, other) => one == other,
    }
}

fn is_same_server(one: &Server, other: &Server) -> bool {
    let share = |some: &[_], others: &[_]| some.iter().any(|node| others.contains(node));
    match (&one.address, &other.address) {
        (Address::Cluster { nodes }, Address::Cluster { nodes: others }) => share(nodes, others),
        (Address::Sentinel { name, nodes }, Address::Sentinel { name: other, nodes: others }) => {
            name == other && share(nodes, others)
        }
        (one, other) => one == other,
    }
}

fn build(config: &Config) -> Arc<dyn Sessions> {
    let keyspace = Keyspace {
        key_prefix: config.key_prefix.clone(),
        user_prefix: config.user_prefix.clone(),
        tombstone_ms: config.tombstone.as_millis() as u64,
    };
    match &config.target {
        Target::Memory { .. } => {
            Arc::new(Store::new(MemoryEngine::new(&keyspace), None, None, config))
        }
        Target::Redis(server) => {
            let is_cluster = config.is_cluster();
            let cache = config.near_cache.as_ref().map(|settings| {
                // Nobody tells that a key which was absent is there, when its slot has moved to
                // another server meanwhile.
                let absence = if is_cluster {
                    settings.ttl.min(settings.max_staleness)
                } else {
                    settings.ttl
                };
                Arc::new(NearCache::new(settings, absence))
            });
            let events = Events::new();
            let credentials = Credentials::default();
            let connected = Connected { events: events.clone(), credentials: credentials.clone() };
            if is_cluster {
                let engine =
                    cluster_engine(config, server, &credentials, keyspace, cache.clone(), events);
                return Arc::new(Store::new(engine, cache, Some(connected), config));
            }
            let engine = StandaloneEngine::new(
                config,
                server,
                &credentials,
                keyspace,
                cache.clone(),
                events,
            );
            Arc::new(Store::new(engine, cache, Some(connected), config))
        }
    }
}
