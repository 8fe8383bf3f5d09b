//! The address of a server over TCP: a host and its port.

use std::fmt;

use crate::config::{Address, NatMap, Server};

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node {
    host: String,
    port: u16,
}

impl Node {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Node { host: host.to_owned(), port }
    }

    /// The address that reaches a server which another server names (option `natMap`).
    pub(crate) fn mapped(nat_map: &NatMap, host: &str, port: u16) -> Self {
        let (host, port) = nat_map
            .get(&(host.to_owned(), port))
            .cloned()
            .unwrap_or_else(|| (host.to_owned(), port));
        Node { host, port }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The settings of this server, as one of those that `cluster` configures.
    pub(crate) fn server_settings(&self, cluster: &Server) -> Server {
        let Node { host, port } = self.clone();
        Server { address: Address::Tcp { host, port }, ..cluster.clone() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
