//! The option `url`: what each scheme means, and what a URL says beside the address.

use percent_encoding::percent_decode_str;
use url::{ParseError, Position, Url};

use super::host::{address_of, canonical_host, is_name_byte};
use super::options::{DEFAULT_PORT, DEFAULT_SENTINEL_PORT, OPTIONS, row_in};
use super::query::Verification;
use super::reader::OptionReader;
use super::server::Address;

const EXAMPLE: &str = "for example redis://localhost:6379";
const ENCODE: &str = "a user name or password in it must have # / ? @ percent-encoded \
    (%23 %2F %3F %40), or be given as the options username and password";

/// What a URL names.
pub(super) enum Location {
    /// The embedded engine of this name.
    Memory(String),
    Server(Address, UrlParts),
}

/// What a URL says beside the address.
#[derive(Default)]
pub(super) struct UrlParts {
    /// Whether the scheme asks for TLS; `None` where only the option can tell.
    pub(super) tls: Option<bool>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: Option<u32>,
    pub(super) connection_name: Option<String>,
    pub(super) verification: Option<Verification>,
}

impl OptionReader {
    /// Reads a URL, of which quotes and white space round it are no part.
    pub(super) fn read_url(&mut self, text: &str) -> Option<Location> {
        let text = without_quotes(text.trim());
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
        let name = names
            .into_iter()
            .next()
            .unwrap_or_else(|| row_in(OPTIONS, "name").default_text().to_owned());
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
            let numbers = row_in(OPTIONS, "db").range();
            let (least, most) = (numbers.start(), numbers.end());
            let what = format!("the database must be an integer from {least} to {most}");
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

/// The number of a database in decimal digits.
fn database_number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = text.parse().ok().filter(|_| digits)?;
    row_in(OPTIONS, "db").range().contains(&number.into()).then_some(number)
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
