//! Where the sessions lie, by the options for it or by the URL. Each option is read whatever is
//! wrong with the others.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::describe::shortened;
use super::host::{address_of, canonical_host, node_of};
use super::options::{DEFAULT_PORT, DEFAULT_SENTINEL_PORT, OPTIONS, row_in};
use super::query::is_connection_name;
use super::reader::OptionReader;
use super::server::{Address, Backend, NatMap, SentinelLogin, Server, Tls};
use super::tls::TlsOption;
use super::url::{Location, UrlParts};

/// Options that mean something beside sentinels only.
pub(super) const FOR_SENTINELS: [&str; 4] =
    ["name", "sentinelUsername", "sentinelPassword", "sentinelTLS"];

const URL_NOT_SET: &str = "not set; give a Redis URL (for example redis://localhost:6379), \
    set the environment variable REDIS_URL, or choose the embedded engine with url: \"memory://\"";

/// The options for sentinels.
struct SentinelOptions {
    username: Option<String>,
    password: Option<String>,
    tls: Option<bool>,
}

impl OptionReader {
    /// `url`, `host`, `path`, `sentinels` or `cluster`, with everything that a connection needs.
    pub(super) fn backend(&mut self) -> Option<Backend> {
        let username = self.word("username");
        let password = self.word("password");
        let asks_for_login = self.asks_for_login();
        let db = self.integer("db");
        let tls = self.tls();
        let keep_alive = self.keep_alive();
        let connection_name = self.connection_name();
        let sentinel = self.sentinel();
        let (address, url) = match self.location()? {
            Location::Memory(name) => return Some(Backend::Memory { name }),
            Location::Server(address, url) => (address, url),
        };
        let tcp = !matches!(address, Address::Unix(_));
        let tls = self.agreed_tls(tcp, url.tls, tls);
        self.agree_on_verification(url.verification, tls.as_ref());
        let sentinel_login = self.sentinel_login(&address, sentinel, tls.is_some());
        let nat_map = self.nat_map(&address);
        let db =
            self.agreed("db", url.db, db).unwrap_or(row_in(OPTIONS, "db").default_integer() as u32);
        let password = self.agreed("password", url.password, password);
        if asks_for_login && password.is_some() {
            self.problem("credentials", "given together with a password; give one or the other");
        }
        Some(Backend::Redis(Box::new(Server {
            address,
            sentinel_login,
            nat_map,
            username: self.agreed("username", url.username, username),
            password,
            asks_for_login,
            db,
            tls,
            keep_alive: keep_alive.filter(|_| tcp),
            connection_name: self
                .agreed("connectionName", url.connection_name, connection_name)
                .unwrap_or_else(|| row_in(OPTIONS, "connectionName").default_text().to_owned()),
        })))
    }

    fn location(&mut self) -> Option<Location> {
        let host = self.host();
        let port = self.integer("port");
        let path = self.path();
        if self.has("url") {
            return self.location_of_url();
        }
        let address = if self.has("sentinels") {
            self.refuse_beside("sentinels", &["host", "port", "path", "cluster"]);
            let name = self.text_or_default("name");
            Address::Sentinel { name, nodes: self.nodes("sentinels", DEFAULT_SENTINEL_PORT)? }
        } else if self.has("cluster") {
            self.refuse_beside("cluster", &["host", "port", "path"]);
            Address::Cluster { nodes: self.nodes("cluster", DEFAULT_PORT)? }
        } else if self.has("path") {
            self.refuse_beside("path", &["host", "port"]);
            Address::Unix(path?)
        } else if self.has("host") {
            let (host, port) = (host?, port.unwrap_or(DEFAULT_PORT));
            Address::Tcp { host, port }
        } else {
            return self.refuse("url", URL_NOT_SET);
        };
        Some(Location::Server(address, UrlParts::default()))
    }

    fn location_of_url(&mut self) -> Option<Location> {
        let location = self.text("url").and_then(|text| self.read_url(&text));
        self.refuse_beside("url", &["host", "port", "path", "cluster", "sentinels", "name"]);
        location
    }

    fn sentinel(&mut self) -> SentinelOptions {
        let tls = self.boolean("sentinelTLS", "; its certificates are those of tls");
        let (username, password) = (self.word("sentinelUsername"), self.word("sentinelPassword"));
        SentinelOptions { username, password, tls }
    }

    fn sentinel_login(
        &mut self,
        address: &Address,
        options: SentinelOptions,
        tls: bool,
    ) -> Option<SentinelLogin> {
        if !matches!(address, Address::Sentinel { .. }) {
            for option in FOR_SENTINELS {
                if self.has(option) {
                    let what = "is for sentinels, and none are given; \
                                give sentinels or a redis-sentinel:// URL";
                    self.problem(option, what);
                }
            }
            return None;
        }
        if options.tls == Some(true) && !tls {
            self.problem("sentinelTLS", "needs the option tls, whose settings it uses");
        }
        Some(SentinelLogin {
            username: options.username,
            password: options.password,
            tls: options.tls.unwrap_or(tls),
        })
    }

    /// Several servers.
    fn nodes(&mut self, option: &str, default_port: u16) -> Option<Vec<(String, u16)>> {
        let nodes = match self.value(option) {
            Some(Value::Array(nodes)) if !nodes.is_empty() => {
                nodes.iter().map(|node| node_of(node, default_port)).collect()
            }
            _ => None,
        };
        let right = "must be a list of { host, port }, for example";
        let example = format!("[{{ host: \"10.0.0.1\", port: {default_port} }}]");
        nodes.or_else(|| self.refuse(option, format_args!("{right} {example}")))
    }

    fn nat_map(&mut self, address: &Address) -> NatMap {
        let map = match self.value("natMap") {
            None => return NatMap::new(),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(from, to)| Some((address_of(from, None)?, node_of(to, DEFAULT_PORT)?)))
                .collect(),
            Some(_) => None,
        };
        if matches!(address, Address::Tcp { .. } | Address::Unix(_)) {
            let what = "applies only to sentinels and clusters; remove the option";
            self.problem("natMap", what);
        }
        map.unwrap_or_else(|| {
            let what = "must map \"host:port\" to { host, port }, for example \
                        { \"10.0.0.1:6379\": { host: \"redis.example.com\", port: 6379 } }";
            self.problem("natMap", what);
            NatMap::new()
        })
    }

    fn refuse_beside(&mut self, option: &str, others: &[&str]) {
        if let Some(names) = self.present(others) {
            let what = format!("given together with {names}; give one or the other");
            self.problem(option, what);
        }
    }

    /// The value of an option that the URL can carry as well: both may be given only when they are
    /// equal.
    fn agreed<T: PartialEq>(&mut self, option: &str, url: Option<T>, own: Option<T>) -> Option<T> {
        if url.is_some() && own.is_some() && url != own {
            let what = format!("differs from the {option} in url; give it in one place");
            self.problem(option, what);
        }
        url.or(own)
    }

    fn agreed_tls(&mut self, tcp: bool, url: Option<bool>, own: Option<TlsOption>) -> Option<Tls> {
        let what = match (own, url) {
            (Some(TlsOption::On(_)), _) if !tcp => "a unix socket has no TLS; remove the option",
            (Some(TlsOption::On(_)), Some(false)) => {
                "the url begins with redis: (or valkey:); for TLS use rediss: (or valkeys:)"
            }
            (Some(TlsOption::Off), Some(true)) => {
                "false contradicts the url, which begins with rediss: (or valkeys:); change one"
            }
            (Some(TlsOption::On(tls)), _) => return Some(tls),
            (Some(TlsOption::Off), _) => return None,
            (None, url) => return (url == Some(true)).then(Tls::default),
        };
        self.refuse("tls", what)
    }
}

/// Reading one option.
impl OptionReader {
    /// A text that is taken for absent when it is empty, as in ioredis.
    fn word(&mut self, option: &str) -> Option<String> {
        self.text(option).filter(|text| !text.is_empty())
    }

    fn host(&mut self) -> Option<String> {
        let what = "must be a host name or an IP address; a port goes into port, a URL into url";
        let host = self.text("host")?;
        canonical_host(&host).or_else(|| self.refuse("host", what))
    }

    fn path(&mut self) -> Option<PathBuf> {
        let path = self.text("path")?;
        if path.is_empty() {
            return self.refuse("path", "must not be empty; give the path of a unix socket");
        }
        Some(path.into())
    }

    fn keep_alive(&mut self) -> Option<Duration> {
        // The kernel counts whole seconds and refuses 0: half a second, cut down, would break the
        // connection.
        let ms = self.integer_or_default("keepAlive");
        (ms > 0).then(|| Duration::from_secs(ms.div_ceil(1_000)))
    }

    fn connection_name(&mut self) -> Option<String> {
        let name = self.text("connectionName")?;
        if is_connection_name(&name) {
            return Some(name);
        }
        let (right, name) = ("must be printable ASCII without spaces", shortened(&name));
        self.refuse("connectionName", format_args!("{right}, not {name}"))
    }

    /// Whether user name and password are asked for. What asks is not here: a function is no
    /// setting.
    fn asks_for_login(&mut self) -> bool {
        match self.value("credentials") {
            None => false,
            Some(Value::Bool(true)) => true,
            Some(_) => {
                self.problem(
                    "credentials",
                    "must be a function that resolves to { username?, password, expiresAt? }",
                );
                false
            }
        }
    }
}
