use std::{
    error::Error,
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, ClientBuilder, Method, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};

use crate::{
    OutboundError, OutboundRules,
    rules::{Gate, Passed, Reach, Shut},
};

/// Bounds and headers of one fetch.
#[derive(Debug, Clone)]
pub struct GetOptions {
    /// More than so many bytes of body are refused.
    pub max_bytes: usize,
    /// From the resolving of the name to the last byte.
    pub timeout_ms: u64,
    /// Headers to send; their values are never logged.
    pub headers: Vec<(String, String)>,
}

impl Default for GetOptions {
    /// 64 KiB within five seconds.
    fn default() -> Self {
        Self {
            max_bytes: 64 * 1024,
            timeout_ms: 5_000,
            headers: Vec::new(),
        }
    }
}

/// A request that does more than fetch.
#[derive(Debug, Clone)]
pub struct SendRequest {
    /// What is done to the url.
    pub verb: Verb,
    /// Where to.
    pub url: String,
    /// What is sent, as JSON; none is sent where there is none.
    pub json: Option<String>,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Get,
    /// Makes, or does.
    Post,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// After how many seconds to try again, where the answer says so in seconds.
    pub retry_after_s: Option<u32>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Opens connections outward, within its rules. Cheap to clone.
#[derive(Clone)]
pub struct Outbound(Arc<Inner>);

struct Inner {
    gate: Gate,
    /// For what is allowed without TLS.
    plain: Client,
    /// Made when first needed: they load the system's certificates, which a machine that only
    /// speaks to its own demonstration may lack.
    outside: OnceLock<Result<Client, String>>,
    inside: OnceLock<Result<Client, String>>,
}

impl Outbound {
    /// Connections within `rules`.
    ///
    /// # Errors
    /// When an item of the list is not `host:port`.
    pub fn new(rules: OutboundRules) -> Result<Self, OutboundError> {
        let gate = Gate::new(rules)?;
        let plain = builder(Reach::Inside)
            .tls_certs_only([])
            .build()
            .map_err(|error| OutboundError::Setup(cause(&error)))?;
        Ok(Self(Arc::new(Inner {
            gate,
            plain,
            outside: OnceLock::new(),
            inside: OnceLock::new(),
        })))
    }

    /// Whether the rules let `url` be reached, as far as that is told before a name is resolved.
    ///
    /// # Errors
    /// When they refuse it.
    pub fn permits(&self, url: &str) -> Result<(), OutboundError> {
        self.0.gate.pass(url).map(drop)
    }

    /// Fetches `url` whole.
    ///
    /// # Errors
    /// When the rules refuse it, nobody answers, the answer is no success, or a bound is met.
    pub async fn get(&self, url: &str, options: GetOptions) -> Result<Bytes, OutboundError> {
        let passed = self.0.gate.pass(url)?;
        let target = passed.target.clone();
        let answer = self.bounded(passed, Verb::Get, None, options).await?;
        if answer.is_success() {
            return Ok(answer.body);
        }
        let status = answer.status;
        Err(OutboundError::Status { target, status })
    }

    /// Sends a request and gives the answer, which may be a refusal.
    ///
    /// # Errors
    /// When the rules refuse it, nobody answers, another place is named, or a bound is met.
    pub async fn send(
        &self,
        request: SendRequest,
        options: GetOptions,
    ) -> Result<Answer, OutboundError> {
        let SendRequest { verb, url, json } = request;
        let passed = self.0.gate.pass(&url)?;
        self.bounded(passed, verb, json, options).await
    }

    async fn bounded(
        &self,
        passed: Passed,
        verb: Verb,
        json: Option<String>,
        options: GetOptions,
    ) -> Result<Answer, OutboundError> {
        let too_slow = OutboundError::TooSlow {
            target: passed.target.clone(),
            ms: options.timeout_ms,
        };
        let bound = Duration::from_millis(options.timeout_ms);
        let exchange = self.exchange(passed, verb, json, options);
        match tokio::time::timeout(bound, exchange).await {
            Ok(answered) => answered,
            Err(_) => Err(too_slow),
        }
    }

    async fn exchange(
        &self,
        passed: Passed,
        verb: Verb,
        json: Option<String>,
        options: GetOptions,
    ) -> Result<Answer, OutboundError> {
        let client = self.client(&passed)?;
        let Passed { url, target, .. } = passed;
        let method = match verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        };
        let mut request = client
            .request(method, url)
            .headers(headers(&options.headers)?);
        if let Some(json) = json {
            request = request.header(CONTENT_TYPE, "application/json").body(json);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| unreached(&error, &target))?;
        let status = answer.status();
        if status.is_redirection() {
            let status = status.as_u16();
            return Err(OutboundError::Redirect { target, status });
        }
        Ok(Answer {
            status: status.as_u16(),
            retry_after_s: retry_after_s(answer.headers()),
            body: body(answer, target, options.max_bytes).await?,
        })
    }

    fn client(&self, passed: &Passed) -> Result<&Client, OutboundError> {
        if passed.url.scheme() == "http" {
            return Ok(&self.0.plain);
        }
        let slot = match passed.reach {
            Reach::Outside => &self.0.outside,
            Reach::Inside => &self.0.inside,
        };
        slot.get_or_init(|| {
            let client = builder(passed.reach).https_only(true).build();
            client.map_err(|error| cause(&error))
        })
        .as_ref()
        .map_err(|reason| OutboundError::Setup(reason.clone()))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({:?})", self.0.gate)
    }
}

fn builder(reach: Reach) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("watertight/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .dns_resolver(Looked(reach))
}

/// Reads a body, and stops at the bound whatever its length was said to be.
async fn body(mut answer: Response, target: String, bytes: usize) -> Result<Bytes, OutboundError> {
    let said = answer.content_length().unwrap_or_default();
    if said > bytes as u64 {
        return Err(OutboundError::TooLarge { target, bytes });
    }
    let mut body = BytesMut::new();
    while let Some(part) = answer
        .chunk()
        .await
        .map_err(|error| unreached(&error, &target))?
    {
        if body.len().saturating_add(part.len()) > bytes {
            return Err(OutboundError::TooLarge { target, bytes });
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}

fn retry_after_s(headers: &HeaderMap) -> Option<u32> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, OutboundError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let wrong = || OutboundError::Url(format!("the header `{name}` is malformed"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Resolves a name once and hands on the addresses that were looked at, so that the connection
/// cannot go to another answer. One address that must not be reached refuses the name whole: a
/// name that points both ways is an attempt, or a mistake to be mended.
#[derive(Debug, Clone, Copy)]
struct Looked(Reach);

impl Resolve for Looked {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(|_| Shut::Unresolved)?
                .collect();
            if found.is_empty() {
                return Err(Shut::Unresolved.into());
            }
            for address in &found {
                reach.check(address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The error as ours: a look-up's own word, or the innermost reason without the URL.
fn unreached(error: &reqwest::Error, target: &str) -> OutboundError {
    let target = target.to_owned();
    match chain(error).find_map(|source| source.downcast_ref::<Shut>()) {
        Some(shut) => shut.at(target),
        None => OutboundError::Unreached {
            target,
            reason: cause(error),
        },
    }
}

/// The innermost reason; the outer ones repeat the URL.
fn cause(error: &reqwest::Error) -> String {
    chain(error)
        .last()
        .map_or_else(|| "no reason given".into(), ToString::to_string)
}

fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&source| source.source())
}
