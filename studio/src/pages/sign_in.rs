use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, header};
use maud::{Markup, html};
use watertight::answer::Nonce;

use super::frame::frame;

/// Where people sign in: Clerk's own script, from the address of its front end.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Origin of Clerk's Frontend API.
    pub frontend: String,
    /// `pk_live_…` or `pk_test_…`; the page says what is missing when there is none.
    pub publishable_key: Option<String>,
}

/// The page to sign in.
#[derive(Debug, Clone)]
pub struct SignIn {
    html: String,
    csp: HeaderValue,
}

impl IntoResponse for SignIn {
    fn into_response(self) -> Response {
        let mut response = Html(self.html).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, self.csp);
        response
    }
}

/// Makes the page to sign in, for one answer. Clerk's script asks who is there and has its token;
/// ours exchanges that for the cookie. `nonce` is drawn for this answer: scripts run that carry it, and
/// those that they load, whatever address they are from; nothing that somebody wrote into the page does.
pub fn sign_in(provider: &Provider, nonce: &Nonce) -> SignIn {
    let frontend = &provider.frontend;
    let source = nonce.source();
    // Trusted Types are left out here and nowhere else: Clerk's script has no policy for them.
    let csp = format!(
        "default-src 'none'; script-src {source} 'strict-dynamic'; connect-src 'self' {frontend}; \
         style-src 'self'; img-src 'self' https://img.clerk.com; worker-src 'self' blob:; base-uri 'none'; \
         object-src 'none'; form-action 'self' {frontend}; frame-ancestors 'none'"
    );
    SignIn {
        html: frame("Sign in", None, &body(provider, nonce)).into_string(),
        csp: HeaderValue::from_str(&csp).unwrap_or(HeaderValue::from_static("default-src 'none'")),
    }
}

fn body(provider: &Provider, nonce: &Nonce) -> Markup {
    let script = format!(
        "{}/npm/@clerk/clerk-js@5/dist/clerk.browser.js",
        provider.frontend
    );
    html! {
        @match &provider.publishable_key {
            Some(key) => {
                p id="state" { "One moment …" }
                p { button id="go" hidden { "Sign in" } }
                script nonce=(nonce) src=(script) data-clerk-publishable-key=(key) crossorigin="anonymous" defer {}
                script nonce=(nonce) src="/ui/sign-in.js" defer {}
                noscript { p { "Signing in needs JavaScript; the pages behind it do not." } }
            }
            None => p {
                "Signing in by browser is not set up here: the operator sets " code { "[clerk] publishable_key" } "."
            }
        }
    }
}
