use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

/// The listener's certificate and key: TLS 1.2 and 1.3, forward secret and authenticated suites only.
///
/// Cheap to clone; all clones have the same certificate, also after [`Tls::reload`].
#[derive(Clone)]
pub struct Tls(Arc<Inside>);

struct Inside {
    certificates: PathBuf,
    key: PathBuf,
    loaded: RwLock<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    until: Option<Timestamp>,
}

/// Why a certificate and its key cannot be used. Nothing of the key is said.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The certificates' file cannot be read, or has none.
    #[error(
        "tls_cert `{0}`: give a PEM file with the certificate, then those between it and its authority"
    )]
    Certificates(PathBuf),
    /// The key's file cannot be read, or has none.
    #[error("tls_key `{0}`: give a PEM file with the certificate's private key")]
    Key(PathBuf),
    /// They do not belong together, or are of a kind that is not known.
    #[error("tls_cert and tls_key do not go together: {0}")]
    Pair(#[from] rustls::Error),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.0.certificates.display())
    }
}

impl Tls {
    /// Reads two PEM files: certificates, the server's own first, and its private key.
    ///
    /// # Errors
    /// When one cannot be read or they do not go together.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, TlsFault> {
        Ok(Self(Arc::new(Inside {
            certificates: certificates.to_owned(),
            key: key.to_owned(),
            loaded: RwLock::new(read(certificates, key)?),
        })))
    }

    /// Reads the files again: connections made from now on get the new certificate, those that are
    /// open go on.
    ///
    /// # Errors
    /// As [`Tls::read`]; then the old certificate stays.
    pub fn reload(&self) -> Result<(), TlsFault> {
        let loaded = read(&self.0.certificates, &self.0.key)?;
        *self
            .0
            .loaded
            .write()
            .unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// Until when the certificate that is shown is good, where it says so.
    pub fn good_until(&self) -> Option<Timestamp> {
        let loaded = self.0.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.until
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let loaded = self.0.loaded.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&loaded.config))
    }
}

fn read(certificates: &Path, key: &Path) -> Result<Loaded, TlsFault> {
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|_| TlsFault::Certificates(certificates.to_owned()))?;
    if chain.is_empty() {
        return Err(TlsFault::Certificates(certificates.to_owned()));
    }
    let until = chain.first().and_then(|first| good_until(first));
    let private = PrivateKeyDer::from_pem_file(key).map_err(|_| TlsFault::Key(key.to_owned()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded {
        config: Arc::new(config),
        until,
    })
}

fn good_until(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}
