//! Mail over TLS: taken by a relay whose certificate an authority that we know has signed, in the name we
//! called; and to any other not even the address is said.

#![expect(
    clippy::unwrap_used,
    reason = "tests stop at the first thing that is not as it must be"
)]

use std::{
    sync::{Arc, Mutex},
    time::SystemTime,
};

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use watertight_outbound::mail::{Mail, Relay, RelaySettings, Security, Untaken};

/// An authority, which signs certificates for names.
struct Authority {
    key: KeyPair,
    pem: String,
    params: CertificateParams,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { key, pem, params }
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            );
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }
}

/// What a relay was told, and under TLS or not.
type Heard = Arc<Mutex<Vec<(bool, String)>>>;

/// A relay on this machine: its port, and what it hears.
async fn relay(acceptor: TlsAcceptor, security: Security) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if security == Security::StartTls {
                let Some(false) = talk(&mut stream, &told, false, true).await else {
                    continue;
                };
            }
            if let Ok(mut stream) = acceptor.accept(stream).await {
                talk(&mut stream, &told, true, security == Security::Tls).await;
            }
        }
    });
    (port, heard)
}

/// RFC 5321 as far as one mail needs it. Whether the client is done; it is not when it asks for TLS.
async fn talk(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    heard: &Heard,
    is_tls: bool,
    greets: bool,
) -> Option<bool> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut lines = BufReader::new(reader).lines();
    if greets {
        writer.write_all(b"220 relay\r\n").await.ok()?;
    }
    let mut in_data = false;
    while let Some(line) = lines.next_line().await.ok()? {
        heard.lock().unwrap().push((is_tls, line.clone()));
        let said = match line.get(..4).unwrap_or(&line) {
            "." if in_data => {
                in_data = false;
                "250 taken"
            }
            _ if in_data => continue,
            "EHLO" if is_tls => "250 relay",
            "EHLO" => "250-relay\r\n250 STARTTLS",
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 well",
        };
        writer.write_all(said.as_bytes()).await.ok()?;
        writer.write_all(b"\r\n").await.ok()?;
        if line == "STARTTLS" {
            return Some(false);
        }
    }
    Some(true)
}

async fn send(port: u16, security: Security, authority: &Authority) -> Result<u16, Untaken> {
    let settings = RelaySettings {
        host: "127.0.0.1".to_owned(),
        port,
        security,
        credentials: None,
        roots_pem: Some(authority.pem.clone().into_bytes()),
        from: "bookings@studio.example".to_owned(),
    };
    let mail = Mail {
        id: "one@studio.example".to_owned(),
        at: SystemTime::UNIX_EPOCH,
        to: "someone@example.com".to_owned(),
        subject: "a subject".to_owned(),
        text: "a text".to_owned(),
    };
    Relay::new(&settings).unwrap().send(&mail).await
}

#[tokio::test]
async fn a_mail_is_said_under_tls_alone_and_to_whom_the_certificate_names() {
    let (known, unknown) = (Authority::new(), Authority::new());
    for security in [Security::Tls, Security::StartTls] {
        let (port, heard) = relay(known.acceptor("127.0.0.1"), security).await;
        assert_eq!(send(port, security, &known).await.unwrap(), 250);
        let heard = heard.lock().unwrap().clone();
        let secret = |line: &str| line.contains("someone") || line.contains("a text");
        assert!(heard.iter().any(|(_, line)| line == "a text"), "{heard:?}");
        assert!(
            heard.iter().all(|(is_tls, line)| *is_tls || !secret(line)),
            "{heard:?}"
        );
        for acceptor in [unknown.acceptor("127.0.0.1"), known.acceptor("127.0.0.2")] {
            let (port, heard) = relay(acceptor, security).await;
            let untaken = send(port, security, &known).await.unwrap_err();
            assert!(
                !untaken.is_final,
                "the certificate may be mended: {untaken}"
            );
            let heard = heard.lock().unwrap().clone();
            assert!(heard.iter().all(|(_, line)| !secret(line)), "{heard:?}");
        }
    }
}
