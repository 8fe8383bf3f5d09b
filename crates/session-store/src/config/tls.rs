//! The option `tls`.

use serde_json::{Map, Value};

use super::describe::{is_buffer, kind_of, shortened};
use super::host::canonical_host;
use super::options::{TLS, names};
use super::reader::OptionReader;
use super::server::{Tls, TlsVersion};

/// The member that turns the check of certificates off.
const UNVERIFIED: &str = "dangerouslyDisableVerification";

/// The option `tls`, when it is given.
pub(super) enum TlsOption {
    Off,
    On(Tls),
}

impl OptionReader {
    pub(super) fn tls(&mut self) -> Option<TlsOption> {
        let what = match self.value("tls")?.clone() {
            Value::Bool(false) => return Some(TlsOption::Off),
            Value::Bool(true) => return Some(TlsOption::On(Tls::default())),
            Value::Object(members) if !is_buffer(&members) => {
                return Some(TlsOption::On(self.tls_members(members)));
            }
            other => kind_of(&other),
        };
        let right = names(TLS, ", ");
        let right = format!("must be true, false or an object with {right}");
        self.refuse("tls", format_args!("{right}, not {what}"))
    }

    fn tls_members(&mut self, members: Map<String, Value>) -> Tls {
        let mut tls = Tls::default();
        if members.contains_key("cert") != members.contains_key("key") {
            self.problem("tls", "cert and key go together; give both or neither");
        }
        for (name, value) in members {
            match tls.take(&name, &value) {
                Some(Ok(())) => {}
                Some(Err(what)) => self.problem("tls", format_args!("{name} {what}")),
                None => self.problem("tls", unknown_member(&name)),
            }
        }
        if tls.unverified && tls.ca.is_some() {
            let what = format!("ca has no use with {UNVERIFIED}: true; remove one of them");
            self.problem("tls", what);
        }
        tls
    }
}

impl Tls {
    /// Takes a member, or says what is wrong with it. `None`: there is no such member.
    fn take(&mut self, name: &str, value: &Value) -> Option<Result<(), String>> {
        let taken = match (name, value) {
            ("ca", _) => pem(value).map(|text| self.ca = Some(text)),
            ("cert", _) => pem(value).map(|text| self.cert = Some(text)),
            ("key", _) => pem(value).map(|text| self.key = Some(text)),
            ("servername", Value::String(name)) => {
                self.servername = canonical_host(name);
                let what =
                    "must be the host name or IP address that the server's certificate is for";
                self.servername.as_ref().map(drop).ok_or_else(|| what.into())
            }
            ("servername", other) => Err(format!("must be a string, not {}", kind_of(other))),
            ("minVersion", version) => match version.as_str() {
                Some("TLSv1.2") => Ok(()),
                Some("TLSv1.3") => {
                    self.min_version = TlsVersion::V13;
                    Ok(())
                }
                _ => Err(
                    r#"must be "TLSv1.2" (the default) or "TLSv1.3"; older ones are not spoken"#
                        .into(),
                ),
            },
            (UNVERIFIED, Value::Bool(unverified)) => {
                self.unverified = *unverified;
                Ok(())
            }
            (UNVERIFIED, other) => Err(format!("must be true or false, not {}", kind_of(other))),
            _ => return None,
        };
        Some(taken)
    }
}

fn unknown_member(name: &str) -> String {
    if name == "rejectUnauthorized" {
        let what =
            "certificates are checked: give a private authority as ca, another name as servername";
        return format!(
            "rejectUnauthorized is not supported, {what}; {UNVERIFIED}: true checks nothing"
        );
    }
    let (name, right) = (shortened(name), names(TLS, ", "));
    format!("unknown member {name}: an object takes {right}")
}

/// A text in PEM, in one spelling, or what the value must be instead.
fn pem(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if text.contains('\0') => Err("must not contain a NUL byte".into()),
        Value::String(text) if text.contains("-----BEGIN") => Ok(text.trim().replace("\r\n", "\n")),
        Value::String(_) => Err("must be PEM text, with a line -----BEGIN …; not a path".into()),
        other => Err(format!("must be a PEM string, not {}", kind_of(other))),
    }
}
