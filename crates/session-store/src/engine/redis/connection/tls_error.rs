//! Why a TLS handshake failed: the error names the check that failed and what to do about it.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use ::redis::RedisError;
use rustls::{AlertDescription, CertificateError};

use super::trust;
use crate::error::{Code, Error};

/// The error for a failed handshake. `error`: of reading or writing.
pub(crate) fn handshake_error(error: &io::Error, at: &str) -> Error {
    let failed = |check: &str| {
        Error::new(Code::Tls, format!("the TLS handshake with Redis at {at} failed: {check}"))
    };
    match failed_check(error) {
        Some(broken) => failed(failed_check_text(broken)).caused_by(broken),
        // No TLS check failed: it may pass, as a lost connection does.
        None => {
            let what = "cannot be reached: it closed the connection in the middle of the TLS handshake; a server that has as \
                        many clients as it allows (maxclients) does so, and a port without TLS";
            Error::new(Code::Unavailable, format!("Redis at {at} {what}")).caused_by(error)
        }
    }
}

/// The same for an error that came after the handshake: with TLS 1.3, a server checks the client's
/// certificate after the client has finished.
pub(crate) fn late_handshake_error(error: &RedisError, at: &str) -> Option<Error> {
    let error = error
        .source()?
        .downcast_ref::<Arc<dyn StdError + Send + Sync>>()?
        .downcast_ref::<io::Error>()?;
    failed_check(error).map(|_| handshake_error(error, at))
}

fn failed_check(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The error for a server that answers as Redis does without TLS.
pub(crate) fn no_tls_error(at: &str) -> Error {
    let what = "it does not speak TLS on this port, but answers without; use redis:// there, or the port of its TLS";
    Error::new(Code::Tls, format!("the TLS handshake with Redis at {at} failed: {what}"))
}

/// Which check failed, and what to do about it.
fn failed_check_text(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate_text(error),
        rustls::Error::NoCertificatesPresented => "it showed no certificate",
        rustls::Error::AlertReceived(alert) => alert_text(*alert),
        rustls::Error::PeerIncompatible(_) => {
            "the server and the store share no version of TLS or no cipher (option tls.minVersion)"
        }
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS on this port; use redis:// there, or the port of its TLS"
        }
        _ => "check the certificates, the authority (option tls.ca) and the host name",
    }
}

/// Why the server's certificate was refused.
fn certificate_text(error: &CertificateError) -> &'static str {
    use CertificateError as Certificate;
    match error {
        Certificate::UnknownIssuer => {
            "its certificate is signed by an authority that is not trusted; give that authority's certificate as option tls.ca"
        }
        Certificate::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "its certificate holds no name (subjectAltName), and its common name does not count; \
             make one with openssl req -x509 -addext \"subjectAltName=DNS:HOST\" (IP:ADDRESS for an address)"
        }
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
            "its certificate is for another name; connect by a name that it holds, or give one as option tls.servername"
        }
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            "its certificate has expired, or this machine's clock is wrong"
        }
        Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or this machine's clock is wrong"
        }
        Certificate::Revoked => "its certificate was revoked",
        Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
            "its certificate is not meant for a server (extended key usage)"
        }
        error if trust::is_ca_used_as_server(error) => {
            "its certificate is an authority's own (CA:TRUE), as openssl req -x509 makes it; give that very certificate as option tls.ca"
        }
        _ => "its certificate cannot be accepted",
    }
}

/// Why the server refused the client.
fn alert_text(alert: AlertDescription) -> &'static str {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => {
            "it asks for a client's certificate; give options tls.cert and tls.key"
        }
        Alert::UnknownCA => {
            "it does not trust the authority of the client's certificate (option tls.cert)"
        }
        Alert::CertificateExpired => "the client's certificate has expired (option tls.cert)",
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::AccessDenied => "it does not accept the client's certificate (option tls.cert)",
        Alert::ProtocolVersion => {
            "the server and the store share no version of TLS (option tls.minVersion)"
        }
        Alert::UnrecognisedName => {
            "it knows no such name; give the one that it has as option tls.servername"
        }
        Alert::HandshakeFailure => {
            "it refuses: it may ask for a client's certificate (options tls.cert and tls.key), or have no cipher in common"
        }
        _ => "it refuses",
    }
}
