//! What is fetched, and what is not, against a server on loopback that counts its connections.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use watertight_outbound::{GetOptions, Outbound, OutboundError, OutboundRules, SendRequest, Verb};

/// A server that answers every connection with `answer`, and counts them.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: impl Fn(&mut TcpStream, &str) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let read = stream.read(&mut request).unwrap_or_default();
                answer(&mut stream, &String::from_utf8_lossy(&request[..read]));
            }
        });
        Self {
            address,
            connections,
        }
    }

    fn saying(answer: &'static str) -> Self {
        Self::start(move |stream, _| drop(stream.write_all(answer.as_bytes())))
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn allowed(&self) -> Outbound {
        Outbound::new(OutboundRules {
            allow: vec![self.address.to_string()],
            ..OutboundRules::default()
        })
        .unwrap()
    }
}

fn strict() -> Outbound {
    Outbound::new(OutboundRules::default()).unwrap()
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";

#[tokio::test]
async fn what_is_allowed_is_fetched() {
    let server = Server::start(|stream, request| {
        assert!(request.starts_with("GET /keys HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("user-agent: watertight/"), "{request}");
        assert!(request.contains("authorization: Bearer x\r\n"), "{request}");
        drop(stream.write_all(HELLO.as_bytes()));
    });
    let options = GetOptions {
        headers: vec![("authorization".into(), "Bearer x".into())],
        ..GetOptions::default()
    };
    let body = server.allowed().get(&server.url(), options).await.unwrap();
    assert_eq!(&body[..], b"hello");
}

#[tokio::test]
async fn a_name_that_is_allowed_may_lead_inside() {
    let server = Server::saying(HELLO);
    let port = server.address.port();
    let outbound = Outbound::new(OutboundRules {
        allow: vec![format!("LOCALHOST:{port}")],
        ..OutboundRules::default()
    })
    .unwrap();
    let url = format!("http://localhost:{port}/");
    assert!(outbound.get(&url, GetOptions::default()).await.is_ok());
    // The list names a port: its neighbour stays shut.
    let neighbour = format!("http://localhost:{}/", port ^ 1);
    let refused = outbound.get(&neighbour, GetOptions::default()).await;
    assert!(matches!(refused, Err(OutboundError::Plain(_))));
}

#[tokio::test]
async fn loopback_is_refused_before_any_connection() {
    let server = Server::saying(HELLO);
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[::1]",
        "0.0.0.0",
        "localhost",
        "LOCALHOST.",
        "１２７.0.0.1",
    ] {
        let url = format!("https://{host}:{port}/");
        let refused = strict().get(&url, GetOptions::default()).await.unwrap_err();
        // A system may not know a name as odd as `localhost.`; then it is not connected to either.
        assert!(
            matches!(
                refused,
                OutboundError::Inside(_) | OutboundError::Never(_) | OutboundError::Unresolved(_)
            ),
            "{host}: {refused}"
        );
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn metadata_is_refused_even_where_it_is_listed() {
    let outbound = Outbound::new(OutboundRules {
        allow: vec!["169.254.169.254:80".into(), "[fd00:ec2::254]:80".into()],
        deny_private: false,
    })
    .unwrap();
    for url in [
        "http://169.254.169.254/latest/",
        "http://0xa9fea9fe/latest/",
        "http://[fd00:ec2::254]/latest/",
        "https://[::ffff:169.254.169.254]/",
    ] {
        let refused = outbound.get(url, GetOptions::default()).await.unwrap_err();
        assert!(
            matches!(refused, OutboundError::Never(_)),
            "{url}: {refused}"
        );
    }
}

#[tokio::test]
async fn a_url_that_is_not_plain_https_is_refused() {
    for (url, why) in [
        ("http://example.com/", "without TLS"),
        ("ftp://example.com/", "its scheme is `ftp`"),
        ("file:///etc/passwd", "no host"),
        ("https://user@example.com/", "user and password"),
        ("https://example.com@127.0.0.1/", "user and password"),
        ("https:///", "cannot be fetched"),
        ("keys", "cannot be fetched"),
    ] {
        let refused = strict().get(url, GetOptions::default()).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{url}: {refused}");
    }
}

#[test]
fn a_list_that_names_no_port_is_refused() {
    for item in [
        "localhost",
        "http://localhost:80",
        "a:b",
        "localhost:80/x",
        "",
        "u@h:1",
    ] {
        let rules = OutboundRules {
            allow: vec![item.into()],
            ..OutboundRules::default()
        };
        let refused = Outbound::new(rules).unwrap_err();
        assert_eq!(refused, OutboundError::Rule(item.into()));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let inside = Server::saying(HELLO);
    let location = inside.url();
    let server = Server::start(move |stream, _| {
        let answer =
            format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        drop(stream.write_all(answer.as_bytes()));
    });
    let refused = server
        .allowed()
        .get(&server.url(), GetOptions::default())
        .await;
    assert!(
        matches!(refused, Err(OutboundError::Redirect { status: 302, .. })),
        "{refused:?}"
    );
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn a_failure_is_no_body() {
    let server = Server::saying("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}");
    let refused = server
        .allowed()
        .get(&server.url(), GetOptions::default())
        .await;
    assert!(matches!(
        refused,
        Err(OutboundError::Status { status: 500, .. })
    ));
}

#[tokio::test]
async fn too_many_bytes_are_cut_off_said_or_not() {
    let said = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
    let unsaid = Server::start(|stream, _| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"));
        // Endless: only the bound ends it.
        while stream.write_all(&[b'x'; 1024]).is_ok() {}
    });
    for server in [said, unsaid] {
        let options = GetOptions {
            max_bytes: 999,
            ..GetOptions::default()
        };
        let refused = server.allowed().get(&server.url(), options).await;
        assert!(
            matches!(refused, Err(OutboundError::TooLarge { bytes: 999, .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_slow_answer_is_cut_off() {
    let server = Server::start(|stream, _| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"));
        // A byte now and then keeps every timer alive but the one over the whole.
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let options = GetOptions {
        timeout_ms: 200,
        ..GetOptions::default()
    };
    let begun = Instant::now();
    let refused = server.allowed().get(&server.url(), options).await;
    assert!(matches!(
        refused,
        Err(OutboundError::TooSlow { ms: 200, .. })
    ));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn nobody_there_says_what_to_do() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let outbound = Outbound::new(OutboundRules {
        allow: vec![address.to_string()],
        ..OutboundRules::default()
    })
    .unwrap();
    let url = format!("http://{address}/");
    let refused = outbound.get(&url, GetOptions::default()).await.unwrap_err();
    assert!(
        refused.to_string().contains("check that it is up"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_request_is_sent_with_its_verb_and_body_and_any_status_is_an_answer() {
    const LATER: &str =
        "HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    for (verb, line, json) in [
        (Verb::Get, "GET /keys ", None),
        (Verb::Post, "POST /keys ", Some("{\"a\":1}")),
        (Verb::Patch, "PATCH /keys ", Some("{}")),
        (Verb::Delete, "DELETE /keys ", None),
    ] {
        let server = Server::start(move |stream, request| {
            assert!(request.starts_with(line), "{request}");
            let has_type = request.contains("content-type: application/json\r\n");
            assert_eq!(has_type, json.is_some(), "{request}");
            assert!(request.ends_with(json.unwrap_or("\r\n\r\n")), "{request}");
            drop(stream.write_all(LATER.as_bytes()));
        });
        let request = SendRequest {
            verb,
            url: server.url(),
            json: json.map(str::to_owned),
        };
        let outbound = server.allowed();
        let answer = outbound.send(request.clone(), GetOptions::default());
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.retry_after_s), (429, Some(7)));
        assert_eq!((&answer.body[..], answer.is_success()), (&b"{}"[..], false));
        // The rules are those of a fetch.
        let refused = strict().send(request, GetOptions::default()).await;
        assert!(matches!(refused, Err(OutboundError::Plain(_))));
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn what_is_sent_follows_no_redirect_and_keeps_its_bounds() {
    let send = async |server: &Server, max_bytes| {
        let request = SendRequest {
            verb: Verb::Post,
            url: server.url(),
            json: Some("{}".into()),
        };
        let options = GetOptions {
            max_bytes,
            ..GetOptions::default()
        };
        server.allowed().send(request, options).await
    };
    let moved = Server::saying(
        "HTTP/1.1 307 Moved\r\nlocation: /x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let refused = send(&moved, 100).await;
    assert!(matches!(
        refused,
        Err(OutboundError::Redirect { status: 307, .. })
    ));
    let hello = Server::saying(HELLO);
    assert!(send(&hello, 5).await.is_ok());
    let refused = send(&hello, 4).await;
    assert!(matches!(
        refused,
        Err(OutboundError::TooLarge { bytes: 4, .. })
    ));
}
