//! How PostgreSQL is reached: over a socket or loopback in the clear, anywhere else by TLS with the
//! server's name checked. There is no choice less than that.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::SettingsFault;

/// Where to connect, and with what.
pub(crate) struct Transport {
    pub(crate) config: Config,
    pub(crate) tls: MakeRustlsConnect,
}

impl Transport {
    /// Reads a URL. `sslrootcert=FILE` in it names the authorities that count, PEM, in the place of the
    /// system's (`%2F` for `/` as in `host`); `sslmode` may say `verify-full` and no other.
    ///
    /// # Errors
    /// When it cannot be read, asks for less, or names authorities that are none.
    pub(crate) fn of(url: &SecretString) -> Result<Self, SettingsFault> {
        let Split { rest, mode, roots } = Split::of(url.expose_secret());
        if mode.is_some_and(|mode| mode != "verify-full") {
            return Err(SettingsFault::Lax);
        }
        // The parser's errors name keys and never values.
        let parsed = rest.expose_secret().parse::<Config>();
        let mut config = parsed.map_err(|error| SettingsFault::Url(error.to_string()))?;
        let is_near = is_near(&config)?;
        config.ssl_mode(if is_near {
            SslMode::Disable
        } else {
            SslMode::Require
        });
        let roots = match (roots, is_near) {
            (Some(file), _) => named(&file.replace("%2F", "/"))?,
            (None, false) => systems(),
            (None, true) => RootCertStore::empty(),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| SettingsFault::Roots(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(tls),
        })
    }
}

/// Whether all hosts are sockets or loopback.
fn is_near(config: &Config) -> Result<bool, SettingsFault> {
    let is_near = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) if name == "localhost" => true,
        Host::Tcp(name) => name
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback()),
    };
    let addresses = config.get_hostaddrs();
    let near: Vec<bool> = match addresses {
        [] => config.get_hosts().iter().map(is_near).collect(),
        _ => addresses.iter().map(IpAddr::is_loopback).collect(),
    };
    if near
        .windows(2)
        .any(|pair| matches!(pair, [one, other] if one != other))
    {
        return Err(SettingsFault::Mixed);
    }
    // A URL without a host is of the local socket.
    Ok(near.first().copied().unwrap_or(true))
}

/// The authorities that a URL names, as it names them.
pub(crate) fn roots_of(url: &SecretString) -> Option<String> {
    Split::of(url.expose_secret()).roots
}

/// A URL without what our parser does not know.
struct Split {
    rest: SecretString,
    mode: Option<String>,
    roots: Option<String>,
}

impl Split {
    fn of(url: &str) -> Self {
        let (before, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut kept) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value.to_owned()),
                Some(("sslrootcert", value)) => roots = Some(value.to_owned()),
                _ => kept.push(pair),
            }
        }
        let rest = match kept.as_slice() {
            [] => before.to_owned(),
            kept => format!("{before}?{}", kept.join("&")),
        };
        Self {
            rest: rest.into(),
            mode,
            roots,
        }
    }
}

fn named(file: &str) -> Result<RootCertStore, SettingsFault> {
    let wrong = || SettingsFault::Roots(format!("`{file}` has no certificate"));
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|_| wrong())?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 { Err(wrong()) } else { Ok(roots) }
}

fn systems() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    fn mode(url: &str) -> Result<SslMode, String> {
        let transport = Transport::of(&url.into());
        transport
            .map(|transport| transport.config.get_ssl_mode())
            .map_err(|fault| fault.to_string())
    }

    // asvs: V12.3.1
    #[test]
    fn what_leaves_the_machine_is_encrypted_and_nothing_less_can_be_asked_for() {
        for near in [
            "postgresql://app:pw@/studio",
            "postgresql://app:pw@/studio?host=%2Frun%2Fpostgresql",
            "postgresql://app:pw@localhost/studio",
            "postgresql://app:pw@127.0.0.1:5433/studio?sslmode=verify-full",
            "postgresql://app:pw@[::1]/studio",
            "postgresql://app:pw@db.example.test/studio?hostaddr=127.0.0.1",
        ] {
            assert_eq!(mode(near), Ok(SslMode::Disable), "{near}");
        }
        for far in [
            "postgresql://app:pw@db.example.test/studio",
            "postgresql://app:pw@10.0.0.7/studio?sslmode=verify-full&connect_timeout=3",
            "postgresql://app:pw@localhost/studio?hostaddr=10.0.0.7",
        ] {
            assert_eq!(mode(far), Ok(SslMode::Require), "{far}");
        }
        for lax in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let url = format!("postgresql://app:pw@db.example.test/studio?sslmode={lax}");
            let refused = mode(&url).unwrap_err();
            assert!(
                refused.contains("verify-full") && !refused.contains("pw"),
                "{refused}"
            );
        }
        let mixed = "postgresql://app:pw@localhost,db.example.test/studio";
        assert!(mode(mixed).unwrap_err().contains("all"));
        let nothing = "postgresql://app:pw@db.example.test/studio?sslrootcert=/nothing/here";
        assert!(mode(nothing).unwrap_err().contains("no certificate"));
    }

    const NAME: &str = "db.watertight.test";

    /// What a server heard of a client that asked for TLS: everything that came after the greeting.
    async fn heard(answer: u8, certificate_of: &str, is_trusted: bool) -> (Vec<u8>, String) {
        let pair = rcgen::generate_simple_self_signed([certificate_of.to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let trusted = if is_trusted { &pair } else { &other };
        let file =
            std::env::temp_dir().join(format!("roots-{}", uuid::Uuid::from_u128(rand_of(&other))));
        std::fs::write(&file, trusted.cert.pem()).unwrap();
        let url = format!(
            "postgresql://app:hunter2@{NAME}/x?sslrootcert={}",
            file.display()
        );
        let tls = Transport::of(&url.into()).unwrap().tls;
        std::fs::remove_file(file).unwrap();

        let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der());
        let server =
            rustls::ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![pair.cert.der().clone()], key.unwrap())
                .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 8];
            stream.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, [0, 0, 0, 8, 4, 210, 22, 47], "an SSLRequest");
            stream.write_all(&[answer]).await.unwrap();
            let mut heard = vec![0; 1024];
            let bytes = match answer {
                b'S' => match TlsAcceptor::from(Arc::new(server)).accept(stream).await {
                    Ok(mut stream) => stream.read(&mut heard).await.unwrap_or(0),
                    Err(_) => 0,
                },
                _ => stream.read(&mut heard).await.unwrap_or(0),
            };
            heard.truncate(bytes);
            heard
        });
        let mut config = Config::new();
        config.host(NAME).hostaddr([127, 0, 0, 1].into()).port(port);
        config
            .user("app")
            .password("hunter2")
            .ssl_mode(SslMode::Require);
        let error = config.connect(tls).await.err().unwrap();
        (heard.await.unwrap(), format!("{error:?}"))
    }

    /// A name for a file, from a key that was just made.
    fn rand_of(pair: &rcgen::CertifiedKey<rcgen::KeyPair>) -> u128 {
        let der = pair.cert.der();
        let last: [u8; 16] = der[der.len() - 16..].try_into().unwrap();
        u128::from_be_bytes(last)
    }

    // asvs: V12.3.2 V12.3.4
    #[tokio::test]
    async fn only_the_server_that_is_meant_hears_who_is_calling() {
        // The startup message names the user.
        let (heard_by_ours, _) = heard(b'S', NAME, true).await;
        assert!(heard_by_ours.windows(3).any(|part| part == b"app"));
        for (answer, name, is_trusted) in [
            (b'S', NAME, false),
            (b'S', "db.attacker.test", true),
            (b'N', NAME, true),
        ] {
            let (heard, error) = heard(answer, name, is_trusted).await;
            assert!(heard.is_empty(), "{name} {is_trusted}: {heard:?}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
