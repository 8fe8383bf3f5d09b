//! Configurations and problems of a few options, for the tests beside this file.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config::{Address, Backend, Config, NearCacheSettings, Server};

pub(super) const SECRET: &str = "hunter2-secret";
pub(super) const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";

/// The settings of the near cache when nothing is said of it.
pub(super) const NEAR_CACHE_DEFAULTS: NearCacheSettings = NearCacheSettings {
    max_bytes: 32 * 1_048_576,
    ttl: Duration::from_secs(60),
    max_staleness: Duration::from_secs(3),
};

pub(super) fn config(options: Value) -> Config {
    Config::from_json(&options.to_string()).unwrap()
}

pub(super) fn server(options: Value) -> Server {
    match config(options).backend {
        Backend::Redis(server) => *server,
        Backend::Memory { .. } => panic!("not a server"),
    }
}

pub(super) fn url(url: &str) -> Server {
    server(json!({ "url": url }))
}

pub(super) fn problems(options: Value) -> Vec<String> {
    Config::from_json(&options.to_string()).unwrap_err()
}

/// The one problem of the options.
pub(super) fn problem(options: Value) -> String {
    let found = problems(options);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

/// The one problem of a local server with one more option.
pub(super) fn problem_with(option: &str, value: Value) -> String {
    problem(json!({ "url": "redis://localhost", option: value }))
}

pub(super) fn config_with(option: &str, value: Value) -> Config {
    config(json!({ "url": "redis://localhost", option: value }))
}

pub(super) fn tcp(host: &str, port: u16) -> Address {
    let host = host.into();
    Address::Tcp { host, port }
}
