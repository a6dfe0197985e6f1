//! TLS for both ways to an Asterisk: rustls with the *ring* provider.

use super::AriError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;

/// Makes *ring* the cryptography of this process. Call it before the first TLS connection; more than once does no harm.
///
/// Libraries that use rustls ask the process for its provider and panic where there is none.
pub fn install_crypto_provider() {
    // An error only says that one is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client that trusts the certificates of one PEM file and no others.
pub(super) fn config_trusting(file: &Path) -> Result<ClientConfig, AriError> {
    let fail = |cause: String| AriError::CaFile { file: file.to_owned(), cause };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| fail(error.to_string()))? {
        let certificate = certificate.map_err(|error| fail(error.to_string()))?;
        roots.add(certificate).map_err(|error| fail(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fail("there is no certificate in it".to_owned()));
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        assert!(config_trusting(&file).unwrap_err().to_string().contains("ca.pem"));
        std::fs::write(&file, "nothing here\n").unwrap();
        assert!(config_trusting(&file).unwrap_err().to_string().contains("no certificate"));
    }
}
