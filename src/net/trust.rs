//! Whom we believe over TLS: the system's authorities and those the user adds, loaded once for all connections; and the
//! very certificates the user gives. An ordinary self-signed certificate (`openssl req -x509`) calls itself an authority,
//! which the verifier does not take from a server; given by the user it is believed for itself.

use crate::disk;
use crate::fault::{Fault, Kind};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The client's half of TLS: certificates are believed that the system knows or that stand in the files `cacert`; with
/// `insecure` all. A file without certificates, or no certificate at all, is a fault of kind `Local`.
pub(super) fn rules(cacert: &[PathBuf], insecure: bool) -> Result<ClientConfig, Fault> {
    let crypto = Arc::new(aws_lc_rs::default_provider());
    let judge: Arc<dyn ServerCertVerifier> = match insecure {
        true => Arc::new(Nobody(crypto.clone())),
        false => Arc::new(Given::load(cacert, &crypto)?),
    };
    let config = ClientConfig::builder_with_provider(crypto).with_safe_default_protocol_versions().map_err(unusable)?;
    Ok(config.dangerous().with_custom_certificate_verifier(judge).with_no_client_auth())
}

fn unusable(error: Error) -> Fault {
    let reason = match error {
        Error::General(text) => text,
        other => other.to_string(),
    };
    Fault::new(Kind::Local, format!("cannot set up the HTTP client: {reason}"))
        .hint("for https a set of CA certificates is needed: install ca-certificates, or give --cacert FILE")
}

/// Asks the system's verifier, and believes besides what the user gave.
#[derive(Debug)]
struct Given {
    system: Verifier,
    certificates: Vec<CertificateDer<'static>>,
}

impl Given {
    fn load(cacert: &[PathBuf], crypto: &Arc<CryptoProvider>) -> Result<Self, Fault> {
        let mut certificates = Vec::new();
        for path in cacert {
            let found = certificates_in(&std::fs::read(path).map_err(|e| disk::fault("read", path, &e))?);
            if found.is_empty() {
                let text = format!("{} holds no certificate in PEM form", disk::shown(path));
                return Err(Fault::new(Kind::Local, text));
            }
            certificates.extend(found);
        }
        let system = Verifier::new_with_extra_roots(certificates.clone(), crypto.clone()).map_err(unusable)?;
        // Its certificates are among the system's already, as authorities.
        if let Some(text) = std::env::var_os("SSL_CERT_FILE").and_then(|path| std::fs::read(Path::new(&path)).ok()) {
            certificates.extend(certificates_in(&text));
        }
        Ok(Self { system, certificates })
    }
}

fn certificates_in(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

/// Whether the clock is what speaks against a certificate.
fn is_about_time(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
    )
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.system.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            // Who issued it and what it is for need no proof: the user has it. Its time is looked at before those.
            Err(refused) if self.certificates.contains(end_entity) && !is_about_time(&refused) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.system.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.system.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.system.supported_verify_schemes()
    }
}

/// Nobody is asked: the user wants no certificate checked.
#[derive(Debug)]
struct Nobody(Arc<CryptoProvider>);

impl ServerCertVerifier for Nobody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
