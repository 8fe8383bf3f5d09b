//! The engine on a cluster: the steps over one key each, on a map of the cluster's servers.

mod cluster_route;
mod cluster_view;
mod slot_map;
pub(super) mod slots;
mod stability;
mod topology;

use std::sync::Arc;

use super::executor::Executor;
use super::one_key::OneKeyEngine;
use crate::config::{Config, Server};
use crate::credentials::Credentials;
use crate::engine::{Engine, Keyspace};
use crate::events::Events;
use crate::near_cache::NearCache;
use cluster_route::ClusterRoute;

/// An engine on a cluster.
///
/// `credentials`: provides user name and password. `cache`: receives every change of what it keeps.
/// `events`: receives what happens to the connections.
pub(crate) fn cluster_engine(
    config: &Config,
    server: &Server,
    credentials: &Credentials,
    keyspace: Keyspace,
    cache: Option<Arc<NearCache>>,
    events: Events,
) -> impl Engine {
    let route =
        ClusterRoute::new(config, server, credentials, &keyspace.key_prefix, cache, events.clone());
    OneKeyEngine::new(Executor::new(config, route, keyspace, &events))
}
