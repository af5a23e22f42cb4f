//! The layers and the server, over loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};
use uuid::Uuid;
use watertight_edge::{Edge, RequestLimits, ServeLimits, facts, read_body, serve};
use watertight_terms::{Clock, Fault, Kind, Random};

const REQUEST_LIMITS: RequestLimits = RequestLimits {
    body_bytes: 1000,
    body_read_ms: 300,
    uri_bytes: 500,
    header_bytes: 2000,
    headers: 20,
};

const SERVE_LIMITS: ServeLimits = ServeLimits {
    connections: 3,
    header_read_timeout_ms: 300,
    max_header_bytes: 8192,
    max_headers: 40,
    write_timeout_ms: 500,
    streams: 4,
    connection_life_ms: 3000,
    drain_ms: 1000,
    hang_up_ms: 200,
};

/// What the product's one file of statuses does, in short.
fn refuse(fault: &Fault, request_id: Uuid) -> Response {
    let status = match fault.slug() {
        "body-too-large" => StatusCode::PAYLOAD_TOO_LARGE,
        "uri-too-long" => StatusCode::URI_TOO_LONG,
        "headers-too-large" => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "wrong-media" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "too-slow" => StatusCode::REQUEST_TIMEOUT,
        "malformed" => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, format!("{} {request_id}", fault.spoken())).into_response()
}

async fn echo(State(edge): State<Edge>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let limits = edge.limits();
    match read_body(body, limits.body_bytes, limits.body_read_ms).await {
        Ok(read) => read.into_response(),
        Err(fault) => refuse(&fault, facts(&parts.extensions).unwrap().id),
    }
}

async fn show(request: Request) -> String {
    let facts = facts(request.extensions()).unwrap();
    let (client_id, client) = (&facts.client_id, &facts.client);
    format!("{client_id:?} {} {client:?} {}", facts.address, facts.at)
}

async fn broken() -> Response {
    panic!("the secret is 7")
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(400)).await;
    "done"
}

async fn page() -> Response {
    ([("content-security-policy", "default-src 'self'")], "page").into_response()
}

fn router() -> Router {
    let clock = Clock::fixed("2026-03-01T09:00:00Z".parse().unwrap());
    let edge = Edge::new(clock, Random::system(), REQUEST_LIMITS, refuse);
    Router::new()
        .route("/show", get(show))
        .route("/echo", post(echo))
        .route("/broken", get(broken))
        .route("/slow", get(slow))
        .route("/page", get(page))
        .with_state(edge.clone())
        .layer(middleware::from_fn_with_state(
            edge.clone(),
            watertight_edge::bound_request,
        ))
        .layer(middleware::from_fn_with_state(
            edge.clone(),
            watertight_edge::catch_panic,
        ))
        .layer(middleware::from_fn(watertight_edge::secure_answer))
        .layer(middleware::from_fn_with_state(
            edge,
            watertight_edge::name_request,
        ))
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve(listener, router(), SERVE_LIMITS, shutdown));
    Server {
        address,
        stop,
        task,
    }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        let _ = stream.write_all(bytes.as_ref()).await;
        read_all(&mut stream).await
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.raw(format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"
        ))
        .await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    let _ = timeout(Duration::from_secs(5), read)
        .await
        .expect("the server closes in time");
    String::from_utf8_lossy(&bytes).to_lowercase()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("closed")
}

fn post_head(more: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n")
}

#[tokio::test]
async fn a_request_is_named_by_us_and_its_facts_are_kept() {
    let server = start().await;
    let long = "x".repeat(100);
    let answer = server
        .get(
            "/show",
            &format!("X-Request-Id: mine\tü{long}\r\nUser-Agent: kit/1\r\n"),
        )
        .await;
    assert_eq!(status(&answer), "200");
    let kept = format!("some(\"mine???{}\")", "x".repeat(57));
    assert!(answer.contains(&kept), "{answer}");
    assert!(
        answer.contains("127.0.0.1 some(\"kit/1\") 2026-03-01t09:00:00z"),
        "{answer}"
    );
    let id = answer.split("x-request-id: ").nth(1).unwrap();
    let id: Uuid = id[..36].parse().unwrap();
    assert_eq!(id.get_version_num(), 4);
    assert_eq!(answer.matches("x-request-id").count(), 1);
}

#[tokio::test]
async fn every_answer_carries_the_headers_and_an_id() {
    let server = start().await;
    let long_uri = format!("/show?{}", "a".repeat(600));
    for path in ["/show", "/absent", "/broken", "/echo", &long_uri] {
        let answer = server.get(path, "").await;
        for header in [
            "x-content-type-options: nosniff\r\n",
            "referrer-policy: no-referrer\r\n",
            "x-frame-options: deny\r\n",
            "content-security-policy: default-src 'none'; ",
            "frame-ancestors 'none'\r\n",
            "cache-control: no-store\r\n",
            "permissions-policy: ",
            "cross-origin-resource-policy: same-origin\r\n",
            "cross-origin-opener-policy: same-origin\r\n",
            "strict-transport-security: max-age=63072000; includesubdomains\r\n",
            "x-request-id: ",
        ] {
            assert!(answer.contains(header), "{path} lacks {header}: {answer}");
        }
    }
    let page = server.get("/page", "").await;
    assert!(
        page.contains("content-security-policy: default-src 'self'\r\n"),
        "{page}"
    );
}

// asvs: V16.5.1 V16.5.4
#[tokio::test]
async fn a_panic_is_answered_without_details() {
    let server = start().await;
    let answer = server.get("/broken", "").await;
    assert_eq!(status(&answer), "500");
    assert!(
        !answer.contains("secret") && !answer.contains("panic"),
        "{answer}"
    );
    assert_eq!(status(&server.get("/show", "").await), "200");
}

// asvs: V5.2.1
#[tokio::test]
async fn what_is_within_the_bounds_passes_and_what_is_over_is_refused() {
    let server = start().await;
    let body = |length: usize| {
        format!(
            "{}{}",
            post_head(&format!("Content-Length: {length}\r\n")),
            "b".repeat(length)
        )
    };
    assert_eq!(status(&server.raw(body(1000)).await), "200");
    assert_eq!(status(&server.raw(body(1001)).await), "413");

    let chunked = |chunks: usize| {
        let chunk = format!("64\r\n{}\r\n", "c".repeat(100));
        format!(
            "{}{}0\r\n\r\n",
            post_head("Transfer-Encoding: chunked\r\n"),
            chunk.repeat(chunks)
        )
    };
    assert_eq!(status(&server.raw(chunked(10)).await), "200");
    assert_eq!(status(&server.raw(chunked(11)).await), "413");

    let uri = |length: usize| format!("/show?{}", "a".repeat(length));
    assert_eq!(status(&server.get(&uri(494), "").await), "200");
    assert_eq!(status(&server.get(&uri(495), "").await), "414");

    let headers = |number: usize| {
        (0..number)
            .map(|n| format!("X-{n}: a\r\n"))
            .collect::<String>()
    };
    assert_eq!(status(&server.get("/show", &headers(18)).await), "200");
    assert_eq!(status(&server.get("/show", &headers(19)).await), "431");
    let wide = format!("X-Wide: {}\r\n", "w".repeat(2000));
    assert_eq!(status(&server.get("/show", &wide).await), "431");
}

#[tokio::test]
async fn what_is_over_the_servers_own_bounds_is_cut_off() {
    let server = start().await;
    for headers in [
        (0..60).map(|n| format!("X-{n}: a\r\n")).collect::<String>(),
        format!("X-Wide: {}\r\n", "w".repeat(1_000_000)),
    ] {
        let answer = server.get("/show", &headers).await;
        assert!(["431", "closed"].contains(&status(&answer)), "{answer}");
    }
    assert_eq!(status(&server.get("/show", "").await), "200");
}

#[tokio::test]
async fn a_coded_body_is_refused() {
    let server = start().await;
    for (coding, expected) in [
        ("identity", "200"),
        ("gzip", "415"),
        ("identity, br", "415"),
    ] {
        let head = post_head(&format!(
            "Content-Encoding: {coding}\r\nContent-Length: 0\r\n"
        ));
        assert_eq!(status(&server.raw(head).await), expected, "{coding}");
    }
}

#[tokio::test]
async fn a_slow_or_broken_body_is_given_up() {
    let server = start().await;
    let mut stream = server.connect().await;
    stream
        .write_all(post_head("Content-Length: 500\r\n").as_bytes())
        .await
        .unwrap();
    let begun = Instant::now();
    let writes = async {
        while stream.write_all(b"b").await.is_ok() && begun.elapsed() < Duration::from_millis(900) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stream
    };
    let mut stream = writes.await;
    let answer = read_all(&mut stream).await;
    assert!(["408", "closed"].contains(&status(&answer)), "{answer}");

    let chunked = format!("{}zz\r\n", post_head("Transfer-Encoding: chunked\r\n"));
    assert_eq!(status(&server.raw(chunked).await), "400");
}

#[tokio::test]
async fn read_body_says_what_was_wrong() {
    let read = read_body(Body::from("abc"), 3, 100).await.unwrap();
    assert_eq!(&read[..], b"abc");
    let fault = read_body(Body::from("abcd"), 3, 100).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::TooLarge);
    let never = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let fault = read_body(Body::from_stream(never), 3, 20)
        .await
        .unwrap_err();
    assert_eq!(fault.kind(), Kind::TooSlow);
}

#[tokio::test]
async fn slow_headers_do_not_hold_a_connection() {
    let server = start().await;
    // Nothing, a byte that fits both protocols, half a head, the HTTP/2 preface and no more.
    for first in [
        "",
        "P",
        "GET /show HTTP/1.1\r\nX-A: a\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = server.connect().await;
        stream.write_all(first.as_bytes()).await.unwrap();
        let begun = Instant::now();
        read_all(&mut stream).await;
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{first:?} held {:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn dripping_headers_and_idle_connections_are_cut_too() {
    let server = start().await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /show HTTP/1.1\r\n").await.unwrap();
    let begun = Instant::now();
    while stream.write_all(b"X-A: a\r\n").await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(2), "still open");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /show HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let begun = Instant::now();
    assert_eq!(status(&read_all(&mut stream).await), "200");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "idle {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn connections_are_bounded_and_the_next_one_waits() {
    let server = start().await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(server.connect().await);
    }
    let begun = Instant::now();
    assert_eq!(status(&server.get("/show", "").await), "200");
    assert!(
        begun.elapsed() > Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );
    drop(held);
}

#[tokio::test]
async fn stopping_lets_a_request_end() {
    let server = start().await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.ends_with("done"), "{answer}");
    timeout(Duration::from_secs(2), server.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
