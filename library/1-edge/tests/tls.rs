//! The listener with TLS: which versions, which certificate, and for whom it is.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use uuid::Uuid;
use watertight_edge::{Listening, Proxies, ServeLimits, Tls, TlsFault, serve};
use watertight_terms::Random;

const NAME: &str = "app.watertight.test";
const LIMITS: ServeLimits = ServeLimits {
    connections: 4,
    header_read_timeout_ms: 400,
    max_header_bytes: 8192,
    max_headers: 40,
    write_timeout_ms: 400,
    streams: 4,
    connection_life_ms: 60_000,
    drain_ms: 100,
    hang_up_ms: 100,
};

/// A certificate and its key in two files of a folder of their own.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn new() -> Self {
        let name: Uuid = Random::system().uuid();
        let folder = std::env::temp_dir().join(format!("tls-{name}"));
        std::fs::create_dir(&folder).unwrap();
        Self { folder }
    }

    /// Writes a new pair; gives the certificate.
    fn renew(&self) -> CertificateDer<'static> {
        let pair = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        std::fs::write(self.path("cert.pem"), pair.cert.pem()).unwrap();
        std::fs::write(self.path("key.pem"), pair.signing_key.serialize_pem()).unwrap();
        pair.cert.der().clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read(&self) -> Result<Tls, TlsFault> {
        Tls::read(&self.path("cert.pem"), &self.path("key.pem"))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn listening(shape: impl FnOnce(Listening) -> Listening) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let large = "x".repeat(4_000_000);
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/large", get(async move || large.clone()));
    let listening = shape(listener.into());
    tokio::spawn(serve(listening, router, LIMITS, std::future::pending()));
    address
}

async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn hello(stream: &mut TlsStream<TcpStream>) -> String {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 4096];
    let bytes = stream.read(&mut answer).await.unwrap();
    answer.truncate(bytes);
    String::from_utf8(answer).unwrap()
}

// asvs: V12.1.1 V12.1.2
#[tokio::test]
async fn it_speaks_tls_1_2_and_1_3_with_modern_suites() {
    let files = Files::new();
    let certificate = files.renew();
    let tls = files.read().unwrap();
    let address = listening(|one| one.encrypted(tls)).await;
    for (version, spoken) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut stream = connect(address, &certificate, version).await.unwrap();
        assert!(hello(&mut stream).await.ends_with("hello"));
        assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap();
        let name = format!("{:?}", suite.suite());
        assert!(name.contains("GCM") || name.contains("CHACHA20"), "{name}");
        assert!(
            name.contains("ECDHE") || name.starts_with("TLS13"),
            "{name}"
        );
    }
}

/// A greeting of TLS 1.1, by hand: nothing here speaks it.
fn greeting_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session, one suite (AES-128-CBC with SHA-1), no compression.
    hello.extend([0, 0, 2, 0xC0, 0x13, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut greeting = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    greeting.extend(hello);
    greeting
}

// asvs: V12.1.1 V12.2.1 V4.1.2
#[tokio::test]
async fn older_versions_and_plain_text_are_told_nothing() {
    let files = Files::new();
    files.renew();
    let tls = files.read().unwrap();
    let address = listening(|one| one.encrypted(tls)).await;
    for sent in [
        greeting_of_tls_1_1(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        // An alert (21) that is fatal (2), or nothing.
        assert!(
            answer.is_empty() || (answer[0], answer[5]) == (21, 2),
            "{answer:?}"
        );
        assert!(answer.len() <= 7, "{answer:?}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let files = Files::new();
    let old = files.renew();
    let tls = files.read().unwrap();
    let shared = tls.clone();
    let address = listening(|one| one.encrypted(shared)).await;
    let mut open = connect(address, &old, &TLS13).await.unwrap();
    let new = files.renew();
    assert!(connect(address, &new, &TLS13).await.is_err());
    tls.reload().unwrap();
    assert!(connect(address, &old, &TLS13).await.is_err());
    let mut renewed = connect(address, &new, &TLS13).await.unwrap();
    assert!(hello(&mut renewed).await.ends_with("hello"));
    // What was open goes on.
    assert!(hello(&mut open).await.ends_with("hello"));
    // A key of another certificate, and a file that is none, change nothing.
    let other = Files::new();
    other.renew();
    std::fs::copy(other.path("key.pem"), files.path("key.pem")).unwrap();
    assert!(matches!(tls.reload(), Err(TlsFault::Pair(_))));
    std::fs::write(files.path("cert.pem"), "nothing").unwrap();
    assert!(matches!(tls.reload(), Err(TlsFault::Certificates(_))));
    connect(address, &new, &TLS13).await.unwrap();
}

#[tokio::test]
async fn who_does_not_greet_is_cut_off() {
    let files = Files::new();
    files.renew();
    let tls = files.read().unwrap();
    let address = listening(|one| one.encrypted(tls)).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(3), silent.read_to_end(&mut answer)).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn plain_http_behind_a_proxy_is_for_the_proxy() {
    for (proxies, is_answered) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let proxies: Proxies = proxies.parse().unwrap();
        let address = listening(|one| one.only_from(proxies)).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(!answer.is_empty(), is_answered);
    }
}

/// Four connections are all there may be; each asks for much and takes nothing.
#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let address = listening(|one| one).await;
    let mut greedy = Vec::new();
    for _ in 0..LIMITS.connections {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        greedy.push(stream);
    }
    let asked = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(Duration::from_secs(5), asked).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}
