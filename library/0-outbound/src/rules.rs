use std::{collections::BTreeSet, net::IpAddr};

use reqwest::Url;

use crate::{
    OutboundError,
    address::{Place, place},
};

/// Where connections may go.
///
/// `allow` opens loopback and private addresses, and connections without TLS, by the very
/// `host:port` of the URL (`127.0.0.1:8082`, `[::1]:8082`, `smtp.inside:25`); the demonstration's
/// own identity provider is such a case. `deny_private: false` opens every private address,
/// for networks that have no other; TLS is still asked for.
#[derive(Debug, Clone)]
pub struct OutboundRules {
    /// `host:port` that may lie inside and may lack TLS.
    pub allow: Vec<String>,
    /// Whether loopback and private addresses are refused elsewhere.
    pub deny_private: bool,
}

impl Default for OutboundRules {
    /// Only the outside, only with TLS.
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny_private: true,
        }
    }
}

/// The rules, checked and ready to compare with.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    allow: BTreeSet<String>,
    deny_private: bool,
}

/// How far a connection may reach, once its URL has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Outside,
    Inside,
}

impl Reach {
    /// Why `address` is not reached, if it is not.
    pub(crate) fn check(self, address: IpAddr) -> Result<(), Shut> {
        match place(address) {
            Place::Never => Err(Shut::Never),
            Place::Inside if self == Self::Outside => Err(Shut::Inside),
            Place::Inside | Place::Outside => Ok(()),
        }
    }
}

/// Why an address is not reached; said through the layers of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Shut {
    #[error("it lies inside")]
    Inside,
    #[error("it is never reached")]
    Never,
    #[error("it is not resolved")]
    Unresolved,
}

impl Shut {
    pub(crate) fn at(self, target: String) -> OutboundError {
        match self {
            Self::Inside => OutboundError::Inside(target),
            Self::Never => OutboundError::Never(target),
            Self::Unresolved => OutboundError::Unresolved(target),
        }
    }
}

/// A URL that passed: where it goes, and how far that may reach.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) url: Url,
    pub(crate) target: String,
    pub(crate) reach: Reach,
}

impl Gate {
    pub(crate) fn new(rules: OutboundRules) -> Result<Self, OutboundError> {
        let allow = rules
            .allow
            .iter()
            .map(|item| normal(item).ok_or_else(|| OutboundError::Rule(item.clone())))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            allow,
            deny_private: rules.deny_private,
        })
    }

    /// Checks all of a URL that can be checked before its name is resolved. The parser of URLs
    /// has already turned `0x7f.1`, `127.1` and `2130706433` into the address that they mean.
    pub(crate) fn pass(&self, url: &str) -> Result<Passed, OutboundError> {
        let url = Url::parse(url).map_err(|error| OutboundError::Url(error.to_string()))?;
        let target = target(&url).ok_or_else(|| OutboundError::Url("no host".into()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OutboundError::Url("user and password in it".into()));
        }
        let is_allowed = self.allow.contains(&target);
        match url.scheme() {
            "https" => {}
            "http" if is_allowed => {}
            "http" => return Err(OutboundError::Plain(target)),
            other => return Err(OutboundError::Url(format!("its scheme is `{other}`"))),
        }
        let reach = match is_allowed || !self.deny_private {
            true => Reach::Inside,
            false => Reach::Outside,
        };
        if let Some(Err(shut)) = literal(&url).map(|address| reach.check(address)) {
            return Err(shut.at(target));
        }
        Ok(Passed { url, target, reach })
    }
}

/// `host:port` of a URL; an IPv6 address stands in brackets.
fn target(url: &Url) -> Option<String> {
    let port = url.port_or_known_default()?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(format!("{host}:{port}"))
}

/// The address in a URL that names no host; connections to it ask no resolver.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// An item of the list, as [`target`] would write it; the port must be there.
fn normal(item: &str) -> Option<String> {
    let (_, port) = item.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let url = Url::parse(&format!("http://{item}/")).ok()?;
    (url.path() == "/" && url.username().is_empty()).then(|| target(&url))?
}
