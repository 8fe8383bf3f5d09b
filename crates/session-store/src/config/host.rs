//! Hosts and their ports, each in one spelling, so that equal settings give an equal `Config`.

use std::net::Ipv6Addr;

use serde_json::Value;
use url::{Host, Url};

use super::options::{OPTIONS, row_in};
use super::reader::whole_number;

/// A host and its port as a URL has them. `default_port`: `None` where the port must be given.
pub(super) fn address_of(text: &str, default_port: Option<u16>) -> Option<(String, u16)> {
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
pub(super) fn node_of(node: &Value, default_port: u16) -> Option<(String, u16)> {
    let Value::Object(members) = node else { return None };
    if members.keys().any(|name| name != "host" && name != "port") {
        return None;
    }
    let host = canonical_host(members.get("host")?.as_str()?)?;
    let ports = row_in(OPTIONS, "port").range();
    let port = members
        .get("port")
        .map_or(Ok(default_port.into()), |port| whole_number(port, ports))
        .ok()?;
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

/// Whether a byte may stand in the name of a host, or of an embedded engine.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}
