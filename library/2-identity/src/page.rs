//! Sessions of the product's own pages: a cookie that means nothing to anybody but the server.
//!
//! ```
//! use watertight_identity::page::{PageSecret, Setting};
//! use watertight_terms::Random;
//!
//! let secret = PageSecret::new(&Random::system());
//! let cookie = secret.cookie();
//! assert!(cookie.starts_with("__Host-session=") && cookie.contains("; HttpOnly; "));
//!
//! // What a browser sends back is the same secret, and what its forms must carry comes from it.
//! let sent = cookie.split(';').next().unwrap();
//! let again = PageSecret::from_cookies(sent).unwrap();
//! assert!(again.is_csrf_token(&secret.csrf_token()));
//!
//! // A request that changes something was made by a page of ours, or is refused.
//! let ours = ["https://app.example.com".to_owned()];
//! assert!(Setting { origin: Some("https://app.example.com"), fetch_site: Some("same-origin") }.is_ours(&ours));
//! assert!(!Setting { origin: Some("https://evil.example"), fetch_site: None }.is_ours(&ours));
//! ```
//!
//! The secret has 256 random bits and is stored as its SHA-256 digest, so that a copy of the table
//! opens no session. The form's token is HMAC-SHA-256 under the secret (OWASP's HMAC-based token
//! pattern): bound to the session, and nothing to store.

use aws_lc_rs::{constant_time, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use watertight_terms::{Key, Random, hmac_sha256};

/// The name of the cookie. The prefix makes browsers insist on `Secure`, `Path=/` and no `Domain`
/// (RFC 6265bis, section 4.1.3.2), so no neighbouring host can set it.
pub const COOKIE: &str = "__Host-session";

/// What a page session is known by: 256 random bits that only its browser has.
#[derive(Clone)]
pub struct PageSecret(Key);

impl PageSecret {
    /// A new one.
    pub fn new(random: &Random) -> Self {
        Self(Key::new(random.bytes()))
    }

    /// The one among the cookies of a request. None when there is none, when there are two, or when
    /// it cannot be one of ours.
    pub fn from_cookies(header: &str) -> Option<Self> {
        let mut values = header.split(';').filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == COOKIE).then_some(value)
        });
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(value).ok()?;
        Some(Self(Key::new(bytes.try_into().ok()?)))
    }

    /// The `Set-Cookie` that hands it to a browser, until that is closed: how long it counts is the
    /// server's to say.
    pub fn cookie(&self) -> String {
        let value = BASE64_URL_SAFE_NO_PAD.encode(self.0.expose());
        format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax")
    }

    /// The `Set-Cookie` that takes it away.
    pub fn no_cookie() -> String {
        format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
    }

    /// What is stored of it.
    pub fn digest(&self) -> [u8; 32] {
        let mut stored = [0; 32];
        stored.copy_from_slice(digest::digest(&digest::SHA256, self.0.expose()).as_ref());
        stored
    }

    /// What a form must carry to be one of this session's.
    pub fn csrf_token(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(hmac_sha256(&self.0, b"csrf token of a page"))
    }

    /// Whether a form carries it; in the same time whatever it carries.
    pub fn is_csrf_token(&self, token: &str) -> bool {
        let expected = self.csrf_token();
        constant_time::verify_slices_are_equal(expected.as_bytes(), token.as_bytes()).is_ok()
    }
}

impl std::fmt::Debug for PageSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PageSecret(…)")
    }
}

/// Where a request says that it was made.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
}

impl Setting<'_> {
    /// Whether a page of ours made it. Whatever is said must say so, and something must be said:
    /// browsers send `Origin` with every form (Fetch standard, section 3.2).
    pub fn is_ours(&self, origins: &[String]) -> bool {
        let origin = self
            .origin
            .map(|origin| origins.iter().any(|ours| ours == origin));
        let site = self.fetch_site.map(|site| site == "same-origin");
        origin.or(site) == Some(true) && site != Some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<PageSecret> {
        PageSecret::from_cookies(text)
    }

    #[test]
    fn a_cookie_comes_back_as_it_went() {
        let first = PageSecret::new(&Random::system());
        let value = first.cookie().split(';').next().unwrap().to_owned();
        let again = secret(&format!("theme=dark; {value}; a=b")).unwrap();
        assert_eq!(first.digest(), again.digest());
        assert_ne!(first.digest(), PageSecret::new(&Random::system()).digest());
        assert!(!format!("{first:?}").contains(&value));
    }

    #[test]
    fn what_cannot_be_ours_is_none() {
        let good = PageSecret::new(&Random::system()).cookie();
        let good = good.split(';').next().unwrap();
        assert!(secret(good).is_some());
        for bad in [
            String::new(),
            format!("{good}; {good}"),
            format!("{good}="),
            format!("{good}A"),
            good.replace(COOKIE, "session"),
            format!("{COOKIE}="),
            format!("{COOKIE}=attackerchosenvalue0000000000000"),
        ] {
            assert!(secret(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_forms_token_is_of_its_session_only() {
        let (one, other) = (
            PageSecret::new(&Random::system()),
            PageSecret::new(&Random::system()),
        );
        assert!(one.is_csrf_token(&one.csrf_token()));
        for bad in [other.csrf_token(), String::new(), "x".repeat(43)] {
            assert!(!one.is_csrf_token(&bad));
        }
    }

    #[test]
    fn only_our_own_pages_are_ours() {
        let ours = ["https://app.example.com".to_owned()];
        let is_ours = |origin, fetch_site| Setting { origin, fetch_site }.is_ours(&ours);
        let app = Some("https://app.example.com");
        assert!(is_ours(app, None));
        assert!(is_ours(app, Some("same-origin")));
        assert!(is_ours(None, Some("same-origin")));
        for (origin, site) in [
            (None, None),
            (None, Some("none")),
            (None, Some("same-site")),
            (app, Some("cross-site")),
            (app, Some("same-site")),
            (Some("null"), None),
            (Some("https://evil.example"), Some("same-origin")),
            (Some("https://sub.app.example.com"), None),
            (Some("http://app.example.com"), None),
        ] {
            assert!(!is_ours(origin, site), "{origin:?} {site:?}");
        }
    }
}
