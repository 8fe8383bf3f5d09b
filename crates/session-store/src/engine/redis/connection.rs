//! Everything about connections to servers: how one is made, what keeps it, and when it is given
//! up. Begin with `supervisor.rs`; it needs `connector.rs`, and that needs `dialer.rs`.

pub(crate) mod clock_jump;
pub(crate) mod connector;
pub(crate) mod dial_progress;
pub(crate) mod dialer;
pub(crate) mod eviction;
pub(crate) mod fail_fast;
pub(crate) mod last_heard;
pub(crate) mod link;
pub(crate) mod liveness;
pub(crate) mod login_error;
pub(crate) mod node;
pub(crate) mod open_stream;
pub(crate) mod pace;
pub(crate) mod relogin;
pub(crate) mod resolver;
pub(crate) mod role;
pub(crate) mod script_reach;
pub(crate) mod sentinel;
pub(crate) mod server_check;
pub(crate) mod server_version;
pub(crate) mod shared_link;
pub(crate) mod stream;
pub(crate) mod supervisor;
pub(crate) mod takeover;
pub(crate) mod threads;
pub(crate) mod tls;
pub(crate) mod tls_error;
pub(crate) mod trust;
pub(crate) mod wire;
