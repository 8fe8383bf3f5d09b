//! One store per configuration and process: every module graph, hot reload and worker thread that
//! asks for the same settings gets the same connection.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use crate::api::Sessions;
use crate::config::{Address, Backend, Config, Server};
use crate::credentials::Credentials;
use crate::engine::Keyspace;
use crate::engine::memory::MemoryEngine;
use crate::engine::redis::cluster::cluster_engine;
use crate::engine::redis::standalone::StandaloneEngine;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::near_cache::NearCache;
use crate::store::{AppHooks, Store};
use crate::sync::Mutex;

static OPEN: LazyLock<Mutex<HashMap<Config, Weak<dyn Sessions>>>> = LazyLock::new(Mutex::default);

/// Opens the store of these settings, or returns the one that is open. Connects to nothing yet.
///
/// # Errors
/// `INVALID_ARGUMENT` when a prefix of its keys begins with one of an open store on the same server
/// and database, or the reverse.
pub fn open(config: Config) -> Result<Arc<dyn Sessions>> {
    let mut stores = OPEN.lock();
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

/// The problem when two stores would reach each other's keys; `None`: they do not.
fn nested(config: &Config, open: &Config) -> Option<String> {
    if !is_same_place(&config.backend, &open.backend) {
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

fn is_same_place(one: &Backend, other: &Backend) -> bool {
    match (one, other) {
        (Backend::Redis(one), Backend::Redis(other)) => {
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
    match &config.backend {
        Backend::Memory { .. } => {
            Arc::new(Store::new(MemoryEngine::new(&keyspace), None, None, config))
        }
        Backend::Redis(server) => {
            let is_cluster = config.is_cluster();
            let cache = config.near_cache.as_ref().map(|settings| {
                // A created key is not reported when its slot has moved to another server
                // meanwhile, so an absence is answered for a shorter time.
                let absence_ttl = if is_cluster {
                    settings.ttl.min(settings.max_staleness)
                } else {
                    settings.ttl
                };
                Arc::new(NearCache::new(settings, absence_ttl))
            });
            let events = Events::new();
            let credentials = Credentials::default();
            let app_hooks = AppHooks { events: events.clone(), credentials: credentials.clone() };
            if is_cluster {
                let engine =
                    cluster_engine(config, server, &credentials, keyspace, cache.clone(), events);
                return Arc::new(Store::new(engine, cache, Some(app_hooks), config));
            }
            let engine = StandaloneEngine::new(
                config,
                server,
                &credentials,
                keyspace,
                cache.clone(),
                events,
            );
            Arc::new(Store::new(engine, cache, Some(app_hooks), config))
        }
    }
}
