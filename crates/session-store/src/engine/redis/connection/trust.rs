//! Which server certificates are accepted.
//!
//! A certificate is accepted when a trusted authority signed it, or when it is itself among the
//! trusted ones. In both cases it must be valid at this time, and be for the server's name; the
//! handshake proves that the server has its key.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Code, Error, Result};

/// Certificates that are trusted beside the public authorities.
static EXTRA_CERTIFICATES: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();

/// Trusts the certificates of a PEM text beside the public authorities, wherever the option
/// `tls.ca` is not given. Connections that were made before do not count; of several calls the
/// first counts.
///
/// Answers whether the text held nothing but certificates, and one at least. Those that can be read
/// are trusted in any case.
pub fn trust_certificates(pem: &str) -> bool {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let count = found.len();
    let certificates: Vec<_> = found.into_iter().flatten().filter(is_certificate).collect();
    let is_whole = count > 0 && certificates.len() == count;
    EXTRA_CERTIFICATES.get_or_init(|| certificates);
    is_whole
}

fn is_certificate(der: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(der.clone()).is_ok()
}

/// Adds the extra certificates to the public authorities; also returns the extra certificates.
pub(crate) fn with_extra_certificates(
    public: Arc<RootCertStore>,
) -> (Arc<RootCertStore>, Vec<CertificateDer<'static>>) {
    let Some(extra) = EXTRA_CERTIFICATES.get() else { return (public, Vec::new()) };
    let mut roots = RootCertStore::clone(&public);
    roots.add_parsable_certificates(extra.iter().cloned());
    (Arc::new(roots), extra.clone())
}

/// Accepts what the authorities signed, and each of `pinned`.
pub(crate) fn certificate_verifier(
    authorities: Arc<RootCertStore>,
    pinned: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>> {
    let by_authority =
        WebPkiServerVerifier::builder_with_provider(authorities, provider.clone()).build();
    let by_authority = by_authority.map_err(|error| {
        Error::new(Code::Tls, "tls: there is no authority to trust").caused_by(&error)
    })?;
    Ok(Arc::new(PinnedOrAuthority { by_authority, pinned }))
}

/// Whether a certificate was refused only because it may sign others. `openssl req -x509` makes
/// such ones (CA:TRUE) unless told otherwise.
pub(crate) fn is_ca_used_as_server(error: &CertificateError) -> bool {
    let CertificateError::Other(error) = error else { return false };
    matches!(error.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[derive(Debug)]
struct PinnedOrAuthority {
    by_authority: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for PinnedOrAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        match self.by_authority.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            // webpki checks the times before it looks whether the certificate may sign others, and
            // the name afterwards.
            Err(rustls::Error::InvalidCertificate(error))
                if is_ca_used_as_server(&error)
                    && self.pinned.iter().any(|pinned| pinned == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}
