//! Where the sessions lie: the options for it and the URL, each read whatever is wrong with the
//! others.

use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::{Host, ParseError, Position, Url};

use super::options::{DATABASES, Options, PORTS, TlsOption, integer, kind};
use super::query::Verification;
use super::{Address, NatMap, SentinelLogin, Server, Target, Tls};

/// Options that mean something beside sentinels only.
pub(super) const FOR_SENTINELS: [&str; 4] =
    ["name", "sentinelUsername", "sentinelPassword", "sentinelTLS"];

const URL_NOT_SET: &str = "not set; give a Redis URL (for example redis://localhost:6379), \
    set the environment variable REDIS_URL, or choose the embedded engine with url: \"memory://\"";
const EXAMPLE: &str = "for example redis://localhost:6379";
const ENCODE: &str = "a user name or password in it must have # / ? @ percent-encoded \
    (%23 %2F %3F %40), or be given as the options username and password";

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;
const DEFAULT_PRIMARY: &str = "mymaster";
const DEFAULT_CONNECTION_NAME: &str = "better-auth-redis-store";

enum Location {
    Memory(String),
    Server(Address, UrlParts),
}

/// What a URL says beside the address.
#[derive(Default)]
struct UrlParts {
    /// Whether the scheme asks for TLS; `None` where only the option can tell.
    tls: Option<bool>,
    username: Option<String>,
    password: Option<String>,
    db: Option<u32>,
    connection_name: Option<String>,
    verification: Option<Verification>,
}

/// The options for sentinels.
struct SentinelOptions {
    username: Option<String>,
    password: Option<String>,
    tls: Option<bool>,
}
impl Options {
    pub(super) fn target(&mut self) -> Option<Target> {
        let username = self.string("username").filter(|name| !name.is_empty());
        let password = self.string("password").filter(|word| !word.is_empty());
        let asks_for_login = self.asks_for_login();
        let db = self.integer("db", DATABASES);
        let tls = self.tls();
        let keep_alive = self.keep_alive();
        let connection_name = self.connection_name();
        let sentinel = self.sentinel();
        let (address, url) = match self.location()? {
            Location::Memory(name) => return Some(Target::Memory { name }),
            Location::Server(address, url) => (address, url),
        };
        let tcp = !matches!(address, Address::Unix(_));
        let tls = self.agreed_tls(tcp, url.tls, tls);
        self.agree_on_verification(url.verification, tls.as_ref());
        let sentinel_login = self.sentinel_login(&address, sentinel, tls.is_some());
        let nat_map = self.nat_map(&address);
        let db = self.agreed("db", url.db, db).unwrap_or(0);
        let password = self.agreed("password", url.password, password);
        if asks_for_login && password.is_some() {
            self.problem("credentials", "given together with a password; give one or the other");
        }
        Some(Target::Redis(Box::new(Server {
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
                .unwrap_or_else(|| DEFAULT_CONNECTION_NAME.to_owned()),
        })))
    }

    fn location(&mut self) -> Option<Location> {
        let host = self.host();
        let port = self.integer("port", PORTS);
        let path = self.path();
        if self.has("url") {
            return self.location_of_url();
        }
        let address = if self.has("sentinels") {
            self.refuse_beside("sentinels", &["host", "port", "path", "cluster"]);
            let name = self.string("name").unwrap_or_else(|| DEFAULT_PRIMARY.to_owned());
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
        let text = self.string("url");
        let location = text.and_then(|text| self.parse_url(without_quotes(text.trim())));
        self.refuse_beside("url", &["host", "port", "path", "cluster", "sentinels", "name"]);
        location
    }

    fn sentinel(&mut self) -> SentinelOptions {
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        let tls = match self.given.get("sentinelTLS") {
            None => None,
            Some(Value::Bool(tls)) => Some(*tls),
            Some(other) => {
                let what = kind(other);
                self.refuse(
                    "sentinelTLS",
                    format_args!(
                        "must be true or false, not {what}; its certificates are those of tls"
                    ),
                )
            }
        };
        SentinelOptions {
            username: text(self.string("sentinelUsername")),
            password: text(self.string("sentinelPassword")),
            tls,
        }
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
                    self.problem(
                        option,
                        "is for sentinels, and none are given; give sentinels or a redis-sentinel:// URL",
                    );
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
        let nodes = match self.given.get(option) {
            Some(Value::Array(nodes)) if !nodes.is_empty() => {
                nodes.iter().map(|node| node_of(node, default_port)).collect()
            }
            _ => None,
        };
        let right = "must be a list of { host, port }, for example";
        nodes.or_else(|| {
            self.refuse(
                option,
                format_args!("{right} [{{ host: \"10.0.0.1\", port: {default_port} }}]"),
            )
        })
    }

    fn nat_map(&mut self, address: &Address) -> NatMap {
        let map = match self.given.get("natMap") {
            None => return NatMap::new(),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(from, to)| Some((address_of(from, None)?, node_of(to, DEFAULT_PORT)?)))
                .collect(),
            Some(_) => None,
        };
        if matches!(address, Address::Tcp { .. } | Address::Unix(_)) {
            self.problem(
                "natMap",
                "is for the servers that sentinels or a cluster name; remove the option",
            );
        }
        map.unwrap_or_else(|| {
            let right = "must map \"host:port\" to { host, port }, for example { \"10.0.0.1:6379\": { host: \"redis.example.com\", port: 6379 } }";
            self.problem("natMap", right);
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

    fn parse_url(&mut self, text: &str) -> Option<Location> {
        if text.chars().any(char::is_control) {
            return self.refuse("url", "must not contain a control character");
        }
        let Some((scheme, rest)) = text.split_once("://").filter(|_| !text.starts_with(QUOTES))
        else {
            return self.refuse("url", wrong_start(text));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "memory" => self.memory_url(rest),
            "redis" | "valkey" => self.tcp_url(text, false),
            "rediss" | "valkeys" | "redis+tls" | "redis+ssl" => self.tcp_url(text, true),
            "unix" | "redis+unix" | "valkey+unix" | "redis-socket" | "redis+socket" => {
                self.unix_url(text)
            }
            "redis-sentinel" | "redis+sentinel" | "valkey-sentinel" | "valkey+sentinel" => {
                self.sentinel_url(rest, None)
            }
            "rediss-sentinel" | "rediss+sentinel" | "valkeys-sentinel" | "valkeys+sentinel" => {
                self.sentinel_url(rest, Some(true))
            }
            "redis-cluster" | "redis+cluster" | "valkey-cluster" | "valkey+cluster" => {
                self.cluster_url(rest, None)
            }
            "rediss-cluster" | "rediss+cluster" | "valkeys-cluster" | "valkeys+cluster" => {
                self.cluster_url(rest, Some(true))
            }
            other => self.refuse("url", wrong_scheme(other)),
        }
    }

    fn memory_url(&mut self, name: &str) -> Option<Location> {
        let what = "memory:// takes a name of letters, digits, - _ . only, such as memory://tests";
        if name.bytes().all(is_name_byte) {
            return Some(Location::Memory(name.into()));
        }
        self.refuse("url", what)
    }

    fn tcp_url(&mut self, text: &str, tls: bool) -> Option<Location> {
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => return self.refuse("url", unreadable(text, error)),
        };
        // A # / or ? in a password ends the host early: what follows it must not be taken for a
        // database, or shown.
        if url.fragment().is_some() || url[Position::BeforePath..].contains('@') {
            return self.refuse("url", ENCODE);
        }
        if url.port() == Some(0) {
            self.problem("url", "has port 0, must be 1 to 65535");
        }
        let in_path = url.path().strip_prefix('/').filter(|path| !path.is_empty());
        let parts = self.url_parts(&url, in_path, Some(tls));
        let Some(host) = url.host_str().and_then(canonical_host) else {
            return self.refuse("url", format_args!("has no valid host, {EXAMPLE}"));
        };
        let port = url.port().unwrap_or(DEFAULT_PORT);
        Some(Location::Server(Address::Tcp { host, port }, parts))
    }

    /// `redis-sentinel://[user:password@]host[:port],host[:port]…[/name][/database]`; `name` and
    /// `db` may be in the query as well.
    fn sentinel_url(&mut self, rest: &str, tls: Option<bool>) -> Option<Location> {
        let example = "for example redis-sentinel://10.0.0.1:26379,10.0.0.2:26379/mymaster/0";
        let (nodes, mut url) = self.several_hosts(rest, DEFAULT_SENTINEL_PORT, example)?;
        let path = url.path().trim_matches('/').to_owned();
        let (in_path, db) = match path.split_once('/') {
            Some((name, db)) => (Some(name), Some(db)),
            None if database_number(&path).is_some() => (None, Some(path.as_str())),
            None => (Some(path.as_str()).filter(|path| !path.is_empty()), None),
        };
        let mut names: Vec<String> = Vec::new();
        if let Some(name) = in_path {
            names.extend(self.decoded(name, "name of the primary"));
        }
        let is_name = |name: &str| matches!(name, "name" | "sentinelMasterId");
        names.extend(
            url.query_pairs()
                .filter(|(name, _)| is_name(name))
                .map(|(_, value)| value.into_owned()),
        );
        if names.windows(2).any(|pair| pair[0] != pair[1]) {
            self.problem("url", "names two primaries; give one");
        }
        let others: Vec<_> =
            url.query_pairs().into_owned().filter(|(name, _)| !is_name(name)).collect();
        url.query_pairs_mut().clear().extend_pairs(others);
        let parts = self.url_parts(&url, db, tls);
        let name = names.into_iter().next().unwrap_or_else(|| DEFAULT_PRIMARY.to_owned());
        Some(Location::Server(Address::Sentinel { name, nodes }, parts))
    }

    /// `redis-cluster://[user:password@]host[:port],host[:port]…`
    fn cluster_url(&mut self, rest: &str, tls: Option<bool>) -> Option<Location> {
        let example = "for example redis-cluster://10.0.0.1:6379,10.0.0.2:6379";
        let (nodes, url) = self.several_hosts(rest, DEFAULT_PORT, example)?;
        let in_path = url.path().strip_prefix('/').filter(|path| !path.is_empty());
        let parts = self.url_parts(&url, in_path, tls);
        Some(Location::Server(Address::Cluster { nodes }, parts))
    }

    /// What follows the scheme of a URL with several hosts: the hosts, and the URL with a single
    /// one in their place.
    fn several_hosts(
        &mut self,
        rest: &str,
        default_port: u16,
        example: &str,
    ) -> Option<(Vec<(String, u16)>, Url)> {
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        if tail.contains(['@', '#']) {
            return self.refuse("url", ENCODE);
        }
        let nodes: Option<Vec<_>> =
            hosts.split(',').map(|host| address_of(host, Some(default_port))).collect();
        let url = Url::parse(&format!(
            "redis://{login}{}several{tail}",
            if login.is_empty() { "" } else { "@" }
        ))
        .ok();
        let both = nodes.zip(url);
        both.or_else(|| self.refuse("url", format_args!("has no valid list of hosts, {example}")))
    }

    fn unix_url(&mut self, text: &str) -> Option<Location> {
        let is_path = |url: &Url| {
            let cut_short =
                url.fragment().is_some() || url.query().is_some_and(|q| q.contains('@'));
            !url.has_host() && url.path().len() > 1 && !cut_short
        };
        let Some(url) = Url::parse(text).ok().filter(is_path) else {
            let what = "must be unix:// and the absolute path of a socket, for example \
                unix:///run/redis.sock?db=2; username and password go into the options";
            return self.refuse("url", what);
        };
        let parts = self.url_parts(&url, None, None);
        let path = self.decoded(url.path(), "path")?;
        Some(Location::Server(Address::Unix(path.into()), parts))
    }

    /// What a URL says beside the address. `in_path`: the database, where the path names it.
    fn url_parts(&mut self, url: &Url, in_path: Option<&str>, tls: Option<bool>) -> UrlParts {
        let query = self.query(url);
        UrlParts {
            tls,
            db: self.database(in_path, query.databases),
            username: self.decoded(url.username(), "user name"),
            password: self.decoded(url.password().unwrap_or(""), "password"),
            connection_name: query.connection_name,
            verification: query.verification,
        }
    }

    /// The database of a URL, from its path and its query, which may both name it when they agree.
    fn database(&mut self, in_path: Option<&str>, in_query: Vec<String>) -> Option<u32> {
        let named: Vec<String> = in_path.map(str::to_owned).into_iter().chain(in_query).collect();
        let numbers: Option<Vec<u32>> = named.iter().map(|text| database_number(text)).collect();
        let Some(numbers) = numbers else {
            let what = "the database must be an integer from 0 to 65535";
            return self.refuse("url", format_args!("{what}, {EXAMPLE}/2"));
        };
        if numbers.windows(2).any(|pair| pair[0] != pair[1]) {
            self.problem("url", "names two databases; give one");
        }
        numbers.first().copied()
    }

    /// A percent-decoded part of the URL, `None` when empty.
    fn decoded(&mut self, part: &str, name: &str) -> Option<String> {
        let what = match percent_decode_str(part).decode_utf8() {
            Ok(text) if text.contains('\0') => "must not contain a NUL byte (%00)",
            Ok(text) => return Some(text.into_owned()).filter(|text| !text.is_empty()),
            Err(_) => "must be UTF-8 after percent-decoding",
        };
        self.refuse("url", format_args!("the {name} {what}"))
    }
}
/// A host and its port as a URL has them. `default_port`: `None` where the port must be given.
fn address_of(text: &str, default_port: Option<u16>) -> Option<(String, u16)> {
    let url = Url::parse(&format!("redis://{text}")).ok()?;
    let is_address = url.path().is_empty()
        && url.username().is_empty()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.port() != Some(0);
    let host = url.host_str().and_then(canonical_host).filter(|_| is_address)?;
    Some((host, url.port().or(default_port)?))
}

/// `{ host, port }`.
fn node_of(node: &Value, default_port: u16) -> Option<(String, u16)> {
    let Value::Object(members) = node else { return None };
    if members.keys().any(|name| name != "host" && name != "port") {
        return None;
    }
    let host = canonical_host(members.get("host")?.as_str()?)?;
    let port =
        members.get("port").map_or(Ok(default_port.into()), |port| integer(port, &PORTS)).ok()?;
    Some((host, u16::try_from(port).ok()?))
}

/// One spelling for each host: lower case, ASCII (IDNA), canonical IP addresses, no brackets.
/// `None`: not a host.
pub(super) fn canonical_host(host: &str) -> Option<String> {
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return Some(address.to_string());
    }
    match Host::parse(host).ok()? {
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
        Host::Domain(name) => name.bytes().all(is_name_byte).then_some(name),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

fn database_number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = text.parse().ok().filter(|_| digits)?;
    DATABASES.contains(&number.into()).then_some(number)
}

const QUOTES: [char; 2] = ['"', '\''];

/// A URL without the quotes round it, which the files of environment variables leave there (docker
/// --env-file).
fn without_quotes(text: &str) -> &str {
    let inner = QUOTES.iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    inner.map_or(text, str::trim)
}

fn wrong_start(text: &str) -> String {
    if text.is_empty() {
        return format!("is empty; give a Redis URL, {EXAMPLE}");
    }
    if text.starts_with(QUOTES) {
        return format!(
            "begins with a quotation mark and does not end with it; remove it, {EXAMPLE}"
        );
    }
    format!("must begin with a scheme and ://, {EXAMPLE}")
}

fn wrong_scheme(scheme: &str) -> String {
    match scheme {
        "http" | "https" => format!("is an HTTP address; give a Redis URL, {EXAMPLE}"),
        _ => format!(
            "must begin with redis://, rediss://, redis-sentinel://, redis-cluster://, unix:// or memory://, {EXAMPLE}"
        ),
    }
}

fn unreadable(text: &str, error: ParseError) -> String {
    let what = match error {
        ParseError::EmptyHost => "has no host",
        ParseError::InvalidPort => "has a port that is not an integer from 1 to 65535",
        _ => "is not a valid URL",
    };
    match text.contains('@') {
        true => format!("{what}, {EXAMPLE}; {ENCODE}"),
        false => format!("{what}, {EXAMPLE}"),
    }
}
