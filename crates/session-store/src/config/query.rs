//! The query of a Redis URL. What other clients take there is taken where it means the same here;
//! anything else is refused by name.

use url::Url;

use super::describe::shortened;
use super::options::is_option;
use super::reader::OptionReader;
use super::server::Tls;
use super::unknown::ioredis_hint;

/// What the query of a URL says.
#[derive(Default)]
pub(super) struct Query {
    /// Every database that it names, as written.
    pub(super) databases: Vec<String>,
    pub(super) connection_name: Option<String>,
    /// What it says about the check of certificates.
    pub(super) verification: Option<Verification>,
}

/// A parameter that is about the check of the server's certificate.
pub(super) struct Verification {
    /// As written, for a message.
    parameter: &'static str,
    /// Whether it turns the check off.
    is_off: bool,
}

impl Query {
    /// Takes a parameter; `false`: it means nothing here, or something else.
    fn take(&mut self, name: &str, value: &str) -> bool {
        match name {
            "db" | "database" => self.databases.push(value.to_owned()),
            "family" => return value == "0",
            "protocol" => return value == "3" || value == "resp3",
            "decode_responses" => return value.eq_ignore_ascii_case("true"),
            "connectionName" | "client_name" | "clientName" => {
                self.connection_name = Some(value.to_owned());
                return is_connection_name(value);
            }
            _ => {
                let Some(found) = verification(name, value) else { return false };
                // Of two that differ, the one that asks for less decides: the option has to say it,
                // too.
                if self.verification.as_ref().is_none_or(|earlier| !earlier.is_off) {
                    self.verification = Some(found);
                }
            }
        }
        true
    }
}

impl OptionReader {
    pub(super) fn query(&mut self, url: &Url) -> Query {
        let mut query = Query::default();
        for (name, value) in url.query_pairs() {
            if !query.take(&name, &value) {
                self.problem("url", refusal(&name));
            }
        }
        query
    }

    /// Whether certificates are checked is said by the option alone: a URL may repeat it.
    pub(super) fn agree_on_verification(
        &mut self,
        verification: Option<Verification>,
        tls: Option<&Tls>,
    ) {
        let Some(Verification { parameter, is_off }) = verification else { return };
        let what = match tls {
            None => "is about TLS, which is off: begin the URL with rediss:, or give option tls",
            Some(tls) if is_off && !tls.unverified => {
                "turns the check of the server's certificate off: give its authority, or the certificate itself, as option \
                 tls.ca and remove the parameter; for a test only, give tls: { dangerouslyDisableVerification: true } beside it"
            }
            Some(tls) if !is_off && tls.unverified => {
                "contradicts tls.dangerouslyDisableVerification: true; remove one"
            }
            Some(_) => return,
        };
        self.problem("url", format_args!("query parameter {parameter} {what}"));
    }
}

/// What a parameter says about the check of certificates; `None`: nothing that could be meant here.
fn verification(name: &str, value: &str) -> Option<Verification> {
    let found = |parameter, is_off| Some(Verification { parameter, is_off });
    match (name, value.to_ascii_lowercase().as_str()) {
        // For a client, Python's "optional" is "required".
        ("ssl_cert_reqs", "required" | "cert_required" | "optional" | "cert_optional") => {
            found("ssl_cert_reqs=required", false)
        }
        ("ssl_cert_reqs", "none" | "cert_none") => found("ssl_cert_reqs=none", true),
        ("ssl_check_hostname", "true") => found("ssl_check_hostname=true", false),
        ("skip_verify", "false") => found("skip_verify=false", false),
        ("skip_verify", "true") => found("skip_verify=true", true),
        _ => None,
    }
}

/// Why a parameter is refused. Never its value, which may be a secret.
fn refusal(name: &str) -> String {
    let what = match name {
        "family" => "must be 0: every address that the host name resolves to is tried; remove it".into(),
        "protocol" => "must be 3: RESP3 is spoken where the server has it, RESP2 elsewhere; remove it".into(),
        "decode_responses" => "must be true: values are texts; remove it".into(),
        "connectionName" | "client_name" | "clientName" => "must be printable ASCII without spaces".into(),
        "ssl_cert_reqs" => "must be required; option tls has the settings of TLS".into(),
        "ssl_check_hostname" => {
            "must be true: the name is always checked; give the name that the certificate holds as option tls.servername"
                .into()
        }
        "skip_verify" => "must be true or false; option tls has the settings of TLS".into(),
        "username" | "password" => format!("is not read; put it before the host (redis://user:password@host) or give option {name}"),
        "timeout" | "socket_timeout" | "read_timeout" | "write_timeout" => "is not read; give option commandTimeout, in ms".into(),
        "dial_timeout" | "socket_connect_timeout" => "is not read; give option connectTimeout, in ms".into(),
        "tls" | "ssl" => "is not read; begin the URL with rediss: for TLS".into(),
        _ => match ioredis_hint(name) {
            Some(hint) => format!("is not read: {hint}"),
            None if is_option(name) => format!("is not read; give it as option {name}"),
            None => {
                return format!(
                    "unknown query parameter {}: remove it; only db and a few parameters of other clients are read, everything else is an option",
                    shortened(name)
                );
            }
        },
    };
    format!("query parameter {name} {what}")
}

/// Whether a text can be the option `connectionName`.
pub(super) fn is_connection_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}
