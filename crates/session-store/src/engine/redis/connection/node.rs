//! A server among several.

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

    /// A server that another one names, as it is reached from here (option `natMap`).
    pub(crate) fn reached(by: &NatMap, host: &str, port: u16) -> Self {
        let (host, port) =
            by.get(&(host.to_owned(), port)).cloned().unwrap_or_else(|| (host.to_owned(), port));
        Node { host, port }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// This very server, with the settings of the whole.
    pub(crate) fn of(&self, whole: &Server) -> Server {
        let Node { host, port } = self.clone();
        Server { address: Address::Tcp { host, port }, ..whole.clone() }
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
