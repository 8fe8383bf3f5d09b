//! Where the sessions lie, validated: the embedded engine, or a server and how to reach it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where the sessions lie.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Backend {
    /// The embedded engine of this process: `memory://` or `memory://NAME`.
    Memory {
        /// Tells stores apart; empty for `memory://`.
        name: String,
    },
    /// One Redis or Valkey server, or the primary of several.
    Redis(Box<Server>),
}

/// From the host and port that a server is named by to those at which it is reached.
pub(crate) type NatMap = BTreeMap<(String, u16), (String, u16)>;

/// How to reach one server. `Debug` shows neither user name nor password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// The address to connect to.
    pub address: Address,
    /// How to log in to the sentinels. `None`: there are none.
    pub sentinel_login: Option<SentinelLogin>,
    /// Where servers are reached from here, by the host and port that sentinels or a cluster name:
    /// `natMap`.
    pub nat_map: NatMap,
    /// ACL user, never empty; `None`: the server's default user.
    pub username: Option<String>,
    /// Password, never empty; `None`: no authentication.
    pub password: Option<String>,
    /// Whether the application gives user name and password at each connection: `credentials`. The
    /// function itself is no setting.
    pub asks_for_login: bool,
    /// Database to select: `db`.
    pub db: u32,
    /// `None`: not encrypted. Always `None` on a unix socket.
    pub tls: Option<Tls>,
    /// Idle time before TCP probes: `keepAlive`, rounded up to whole seconds, the kernel's unit.
    /// `None`: off. Always `None` on a unix socket.
    pub keep_alive: Option<Duration>,
    /// Name in the server's `CLIENT LIST`: `connectionName`.
    pub connection_name: String,
}

/// A server's address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// A host and its TCP port.
    Tcp {
        /// Lower-case ASCII name, or an IP address in its canonical form; IPv6 without brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
    /// The servers of a cluster.
    Cluster {
        /// Host and port of some of them, default port 6379, from which the others are found. At
        /// least one.
        nodes: Vec<(String, u16)>,
    },
    /// The primary that sentinels name.
    Sentinel {
        /// What the sentinels call it: `name`.
        name: String,
        /// Host and port of each sentinel, default port 26379. At least one.
        nodes: Vec<(String, u16)>,
    },
}

/// How to log in to sentinels, which have users of their own. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SentinelLogin {
    /// `sentinelUsername`, never empty.
    pub username: Option<String>,
    /// `sentinelPassword`, never empty.
    pub password: Option<String>,
    /// Whether they speak TLS, with the server's settings: `sentinelTLS`.
    pub tls: bool,
}

impl fmt::Debug for SentinelLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SentinelLogin { username, password, tls } = self;
        f.debug_struct("SentinelLogin")
            .field("username", &redacted(username))
            .field("password", &redacted(password))
            .field("tls", tls)
            .finish()
    }
}

/// TLS settings. A PEM text has no surrounding white space, and `\n` line ends. `Debug` shows none.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Tls {
    /// Certificate authorities to trust; `None`: the system's and the bundled ones.
    pub ca: Option<String>,
    /// The client's certificate chain; set exactly when `key` is.
    pub cert: Option<String>,
    /// The client's private key; set exactly when `cert` is.
    pub key: Option<String>,
    /// The name that the server's certificate must be for, in its canonical form; `None`: the host
    /// that is connected to.
    pub servername: Option<String>,
    /// The oldest version that is spoken: `minVersion`.
    pub min_version: TlsVersion,
    /// Whether any certificate is accepted: `dangerouslyDisableVerification`. Never beside `ca`.
    pub unverified: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TlsVersion {
    /// `TLSv1.2`.
    #[default]
    V12,
    /// `TLSv1.3`.
    V13,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("sentinel_login", &self.sentinel_login)
            .field("nat_map", &self.nat_map)
            .field("username", &redacted(&self.username))
            .field("password", &redacted(&self.password))
            .field("asks_for_login", &self.asks_for_login)
            .field("db", &self.db)
            .field("tls", &self.tls)
            .field("keep_alive", &self.keep_alive)
            .field("connection_name", &self.connection_name)
            .finish()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &redacted(&self.ca))
            .field("cert", &redacted(&self.cert))
            .field("key", &redacted(&self.key))
            .field("servername", &self.servername)
            .field("min_version", &self.min_version)
            .field("unverified", &self.unverified)
            .finish()
    }
}

fn redacted(secret: &Option<String>) -> Option<&'static str> {
    secret.as_ref().map(|_| "<redacted>")
}
