//! Finds the server of a key on a cluster.
//!
//! A caller waits for that server as for a single one, and for another server if the slot moves
//! meanwhile.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use super::slot_map::{KnownCluster, Primary};
use super::slots::slot;
use super::topology::Topology;
use crate::config::{Config, Server};
use crate::credentials::Credentials;
use crate::engine::redis::connection::node::Node;
use crate::engine::redis::connection::supervisor::Supervisor;
use crate::engine::redis::failure;
use crate::engine::redis::route::{Route, ServerLink};
use crate::error::Result;
use crate::events::Events;
use crate::near_cache::NearCache;

/// The servers of a cluster.
pub(crate) struct ClusterRoute(Arc<Topology>);

impl ClusterRoute {
    /// `credentials`: for servers that take their login from a function. `cache`: receives the
    /// invalidations of every primary. `events`: receives what happens to the connections.
    pub(crate) fn new(
        config: &Config,
        server: &Server,
        credentials: &Credentials,
        key_prefix: &str,
        cache: Option<Arc<NearCache>>,
        events: Events,
    ) -> Self {
        let topology = Topology::new(config, server, credentials, key_prefix, cache, events);
        ClusterRoute(Arc::new(topology))
    }

    async fn owner(&self, slot: u16) -> Result<Primary> {
        let known = self.0.known().map.owner(slot);
        match known {
            Some(primary) => Ok(primary),
            None => self.0.wait_for_primary(Some(slot)).await,
        }
    }
}

impl Route for ClusterRoute {
    async fn link_for(&self, key: &str) -> Result<ServerLink> {
        let slot = slot(key);
        loop {
            let Primary { node, server } = self.owner(slot).await?;
            if let Some(link) = server.live_link() {
                return Ok(ServerLink { server, link });
            }
            self.0.request_round();
            let mut known = self.0.subscribe();
            let is_other =
                |known: &KnownCluster| known.map.owner(slot).is_none_or(|owner| owner.node != node);
            let moved = async {
                if known.wait_for(is_other).await.is_err() {
                    pending().await
                }
            };
            tokio::select! {
                link = server.wait_for_link() => return link.map(|link| ServerLink { server, link }),
                () = moved => {}
            }
        }
    }

    async fn follow_redirect(
        &self,
        from: &ServerLink,
        refusal: &RedisError,
    ) -> Result<Option<ServerLink>> {
        let unusable = || failure::error(refusal, from.server.address());
        let (address, slot) = refusal.redirect_node().ok_or_else(unusable)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(unusable)?;
        let port = port.parse().map_err(|_| unusable())?;
        // No host: the one that was asked.
        let host = if host.is_empty() { from.server.host() } else { host.trim_matches(['[', ']']) };
        let node = Node::mapped(self.0.nat_map(), host, port);
        if refusal.kind() == ErrorKind::Server(ServerErrorKind::Moved) {
            self.0.record_moved_slot(slot, node);
            return Ok(None);
        }
        let server = self.0.known().map.server(&node).cloned();
        let server = server.unwrap_or_else(|| self.0.importing_server(node));
        let mut link = server.wait_for_link().await?;
        link.connection.asking = true;
        // What is read there is not tracked: ASKING and CLIENT CACHING YES cannot be combined.
        link.is_tracked = false;
        Ok(Some(ServerLink { server, link }))
    }

    /// In the order of their addresses.
    async fn primaries(&self) -> Result<Vec<Supervisor>> {
        self.wait_until_known().await?;
        Ok(self.0.known().map.servers.clone())
    }

    async fn wait_until_known(&self) -> Result<()> {
        let is_known = !self.0.known().map.servers.is_empty();
        if is_known { Ok(()) } else { self.0.wait_for_primary(None).await.map(drop) }
    }

    fn server_number(&self, key: &str) -> Option<u16> {
        self.0.known().map.slots.owner_index(slot(key))
    }

    fn fail_fast(&self) -> Duration {
        self.0.fail_fast()
    }
}
