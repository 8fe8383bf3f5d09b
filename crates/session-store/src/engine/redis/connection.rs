//! Everything about connections to servers: how one is made, what keeps it, and when it is given up.

pub(crate) mod clocks;
pub(crate) mod connector;
pub(crate) mod eviction;
pub(crate) mod heard;
pub(crate) mod names;
pub(crate) mod node;
pub(crate) mod pace;
pub(crate) mod reach;
pub(crate) mod relogin;
pub(crate) mod role;
pub(crate) mod sentinel;
pub(crate) mod stream;
pub(crate) mod supervisor;
pub(crate) mod threads;
pub(crate) mod tls;
pub(crate) mod trust;
pub(crate) mod version;
pub(crate) mod wire;
