//! A live connection that is ready for work.

use super::node::Node;
use super::wire::Wire;

/// A live connection. Two links with the same number are the same connection.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) connection: Wire,
    /// Whether the server sends invalidations for keys that are read on it with
    /// `CLIENT CACHING YES`.
    pub(crate) is_tracked: bool,
    /// The primary that it leads to. `None`: no sentinels were asked.
    pub(crate) primary: Option<Node>,
    pub(crate) number: u64,
}
