//! TLS to a server, by the settings of option `tls`.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_native_certs::{CertificateResult, ErrorKind};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::threads::{self, run_blocking};
use super::trust;
use crate::config::{Tls, TlsVersion};
use crate::error::{Code, Error, Result};

/// Makes TLS connections by the settings of option `tls`. Parsed settings, and the session tickets
/// that servers sent, are kept between connections.
pub(crate) struct TlsClient {
    settings: Tls,
    config: OnceCell<Arc<ClientConfig>>,
}

impl TlsClient {
    pub(crate) fn new(settings: &Tls) -> Self {
        TlsClient { settings: settings.clone(), config: OnceCell::new() }
    }

    /// A connector for `host`, and the name that the server's certificate must be for.
    pub(crate) async fn connector(
        &self,
        host: &str,
    ) -> Result<(TlsConnector, ServerName<'static>)> {
        let config = self.config.get_or_try_init(|| client_config(&self.settings)).await?;
        let name = self.settings.servername.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            let what =
                "no certificate can be for a host name like this; give the name that it is for as tls.servername";
            Error::new(Code::Tls, format!("tls: {what}"))
        })?;
        Ok((TlsConnector::from(config.clone()), name))
    }
}

async fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[_] = match tls.min_version {
        TlsVersion::V12 => &[&TLS13, &TLS12],
        TlsVersion::V13 => &[&TLS13],
    };
    let versions =
        ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions);
    let config = versions.map_err(|error| unusable("minVersion", &error))?;
    let config = if tls.unverified {
        config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)))
    } else {
        let (roots, pinned) = match &tls.ca {
            Some(ca) => {
                let given = certificates("ca", ca)?;
                (Arc::new(authorities(&given)?), given)
            }
            None => trust::with_extra_certificates(public_authorities().await?),
        };
        config.dangerous().with_custom_certificate_verifier(trust::certificate_verifier(
            roots, pinned, &provider,
        )?)
    };
    let config = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let cert: Vec<_> = certificates("cert", cert)?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| {
                Error::new(Code::Tls, "tls: key holds no private key that can be read")
            })?;
            config.with_client_auth_cert(cert, key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    Error::new(Code::Tls, "tls: cert and key do not belong together")
                }
                error => unusable("cert and key", &error),
            })?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn certificates(member: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
        Error::new(
            Code::Tls,
            format!("tls: {member} holds no certificate that can be read (PEM, BEGIN CERTIFICATE)"),
        )
    })
}

fn authorities(ca: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in ca {
        let what = "tls: ca holds something that is no certificate";
        roots
            .add(certificate.clone())
            .map_err(|error| Error::new(Code::Tls, what).caused_by(&error))?;
    }
    Ok(roots)
}

/// The authorities that the system trusts, and Mozilla's. Read once, unless this process lacks a
/// resource for it.
async fn public_authorities() -> Result<Arc<RootCertStore>> {
    static READ: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = READ.get() {
        return Ok(roots.clone());
    }
    let unreadable = |error: io::Error| {
        let what = threads::exhausted_resource(&error).unwrap_or("they cannot be read");
        Error::new(
            Code::Unavailable,
            format!("tls: the authorities that the system trusts: {what}"),
        )
        .caused_by(&error)
    };
    // On a thread of its own: reading files would hold up every other task.
    let roots = run_blocking(read_authorities).await.and_then(|read| read).map_err(unreadable)?;
    Ok(READ.get_or_init(|| Arc::new(roots)).clone())
}

fn read_authorities() -> io::Result<RootCertStore> {
    let CertificateResult { certs, errors, .. } = rustls_native_certs::load_native_certs();
    for error in errors {
        // A broken certificate of the system is no reason to distrust the others.
        if let ErrorKind::Io { inner, .. } = error.kind
            && threads::exhausted_resource(&inner).is_some()
        {
            return Err(inner);
        }
    }
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots.add_parsable_certificates(certs);
    Ok(roots)
}

/// The error for a member of the option that was read and cannot be used.
fn unusable(member: &str, error: &rustls::Error) -> Error {
    Error::new(Code::Tls, format!("tls: {member} cannot be used")).caused_by(error)
}

/// Accepts any certificate whose key the server has (`dangerouslyDisableVerification`).
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
