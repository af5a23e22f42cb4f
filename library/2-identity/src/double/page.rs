//! What the stand-in serves to people: its keys, a count of how often they were asked for, tokens,
//! a page.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;

use super::{Double, TokenRequest};

/// Somebody who can sign in.
#[derive(Debug, Clone)]
pub struct Person {
    /// What the page calls them.
    pub name: String,
    /// The studio's name.
    pub studio: String,
    /// Clerk's role, with `org:`.
    pub role: String,
    /// The user.
    pub subject: String,
    /// The session.
    pub session: String,
    /// The organization.
    pub organization: String,
    /// The organization's slug.
    pub slug: String,
}

struct Served {
    double: Double,
    people: Vec<Person>,
    /// The url that the page's example calls.
    example: Option<String>,
    asked: AtomicU64,
}

impl Double {
    /// Serves the JWK set, the count of its fetches, tokens of these people, a page to sign in, and
    /// the Backend API over them.
    pub fn router(&self, people: Vec<Person>) -> Router {
        self.serve(people, None)
    }

    /// The same, whose page shows a command that calls `url` with the token.
    pub fn router_with_example(&self, people: Vec<Person>, url: &str) -> Router {
        self.serve(people, Some(url.to_owned()))
    }

    fn serve(&self, people: Vec<Person>, example: Option<String>) -> Router {
        self.know(&people);
        let served = Served {
            double: self.clone(),
            people,
            example,
            asked: AtomicU64::new(0),
        };
        Router::new()
            .route("/.well-known/jwks.json", get(jwks))
            .route("/jwks-hits", get(hits))
            .route("/token", get(token).post(token))
            .route("/sign-in", get(sign_in))
            .route("/npm/@clerk/clerk-js@5/dist/clerk.browser.js", get(script))
            .with_state(Arc::new(served))
            .merge(self.backend())
    }
}

async fn jwks(State(served): State<Arc<Served>>) -> Response {
    served.asked.fetch_add(1, Ordering::Relaxed);
    (
        [(header::CONTENT_TYPE, "application/json")],
        served.double.jwks_json(),
    )
        .into_response()
}

async fn hits(State(served): State<Arc<Served>>) -> String {
    served.asked.load(Ordering::Relaxed).to_string()
}

#[derive(Deserialize)]
struct Asked {
    subject: String,
    /// Needed only for somebody who is in two.
    organization: Option<String>,
    version: Option<u8>,
}

async fn token(State(served): State<Arc<Served>>, Query(asked): Query<Asked>) -> Response {
    match served.token(&asked) {
        Some(token) => {
            // Anybody may have these people's tokens: that is what they are for.
            let headers = [
                (header::CACHE_CONTROL, "no-store"),
                (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            ];
            (headers, token).into_response()
        }
        None => (
            StatusCode::NOT_FOUND,
            "nobody of that name; the sign-in page lists who there is\n",
        )
            .into_response(),
    }
}

impl Served {
    fn token(&self, asked: &Asked) -> Option<String> {
        let person = self.people.iter().find(|person| {
            person.subject == asked.subject
                && asked
                    .organization
                    .as_ref()
                    .is_none_or(|organization| person.organization == *organization)
        })?;
        Some(self.double.token(&TokenRequest {
            subject: person.subject.clone(),
            session: person.session.clone(),
            organization: person.organization.clone(),
            slug: person.slug.clone(),
            role: person.role.clone(),
            version: asked.version.unwrap_or(2),
            life_s: 60,
        }))
    }
}

/// What stands in for Clerk's own script on a page.
async fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        ),
    ];
    (headers, include_str!("clerk.browser.js")).into_response()
}

#[derive(Deserialize)]
struct SignIn {
    /// A page that wants to know who somebody is; whoever is chosen goes back there.
    redirect_url: Option<String>,
    subject: Option<String>,
    organization: Option<String>,
}

/// The people by studio; whoever is chosen gets a token to copy.
async fn sign_in(State(served): State<Arc<Served>>, Query(chosen): Query<SignIn>) -> Response {
    if let (Some(url), Some(subject)) = (&chosen.redirect_url, &chosen.subject) {
        let organization = chosen.organization.as_deref().unwrap_or_default();
        let back = format!("{url}#{subject}/{organization}");
        return axum::response::Redirect::to(&back).into_response();
    }
    let signed_in = chosen.subject.and_then(|subject| {
        let token = served.token(&Asked {
            subject: subject.clone(),
            organization: chosen.organization,
            version: None,
        })?;
        Some(SignedIn { subject, token })
    });
    // No script at all; the one style by its hash.
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action *; frame-ancestors 'none'; \
         base-uri 'none'",
        style_hash()
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let back = chosen.redirect_url.as_deref();
    (headers, Html(page(&served, signed_in.as_ref(), back))).into_response()
}

/// Who was chosen, and the token.
struct SignedIn {
    subject: String,
    token: String,
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#1c2430;background:#f6f4ef}\
h1{font-size:1.5rem;margin-bottom:.25rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}p{margin:.25rem 0 1rem;color:#4a5566}\
ul{list-style:none;padding:0;margin:0}li{display:flex;gap:1rem;align-items:center;padding:.5rem .75rem;background:#fff;border:1px solid #dcd7cb}\
li+li{border-top:0}li span{flex:1}li small{color:#4a5566;min-width:9rem}button{font:inherit;padding:.35rem .9rem;border:1px solid #1c2430;background:#1c2430;color:#fff;cursor:pointer}\
button:focus-visible{outline:3px solid #d97706;outline-offset:2px}section{background:#fff;border:2px solid #1c2430;padding:1rem;margin:1.5rem 0}\
textarea{width:100%;box-sizing:border-box;height:9rem;font:13px/1.4 ui-monospace,monospace;border:1px solid #dcd7cb;padding:.5rem}";

fn style_hash() -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        STYLE.as_bytes(),
    ))
}

fn page(served: &Served, signed_in: Option<&SignedIn>, back: Option<&str>) -> String {
    let people = &served.people;
    let mut studios: Vec<&str> = Vec::new();
    for person in people {
        if !studios.contains(&&*person.studio) {
            studios.push(&person.studio);
        }
    }
    let lists: String = studios
        .into_iter()
        .map(|studio| {
            let members = people.iter().filter(|person| person.studio == studio);
            let items: String = members.map(|person| item(person, back)).collect();
            format!("<h2>{}</h2><ul>{items}</ul>", escape(studio))
        })
        .collect();
    let shown = signed_in.map(|signed_in| token_shown(served, signed_in));
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Sign in: stand-in for Clerk</title><style>{STYLE}</style></head><body><main><h1>Who are you?</h1>\
         <p>A stand-in for Clerk. It signs tokens for the people below and for nobody else.</p>{}{lists}</main></body></html>",
        shown.unwrap_or_default()
    )
}

fn token_shown(served: &Served, SignedIn { subject, token }: &SignedIn) -> String {
    let chosen = served
        .people
        .iter()
        .find(|person| person.subject == *subject);
    let name = chosen.map_or(subject.as_str(), |person| &person.name);
    let example = served.example.as_ref().map(|url| {
        let command = format!("curl -H \"Authorization: Bearer {token}\" '{url}'");
        area("c", "A command that uses it", &command)
    });
    format!(
        "<section aria-labelledby=\"s\"><h2 id=\"s\">Signed in as {}</h2><p>The token is good for a minute. \
         Send it as <code>Authorization: Bearer …</code></p>{}{}</section>",
        escape(name),
        area("t", "Token", token),
        example.unwrap_or_default()
    )
}

fn area(id: &str, label: &str, text: &str) -> String {
    let (label, text) = (escape(label), escape(text));
    format!("<label for=\"{id}\">{label}</label><textarea id=\"{id}\" readonly>{text}</textarea>")
}

/// One person; the button says whom it signs in, for those who hear the page.
fn item(person: &Person, back: Option<&str>) -> String {
    let back = back.map(|url| {
        format!(
            "<input type=\"hidden\" name=\"redirect_url\" value=\"{}\">",
            escape(url)
        )
    });
    let name = escape(&person.name);
    let role = person.role.trim_start_matches("org:").replace('_', " ");
    format!(
        "<li><span>{name}</span><small>{}</small><form method=\"get\"><input type=\"hidden\" name=\"subject\" value=\"{}\">\
         <input type=\"hidden\" name=\"organization\" value=\"{}\">{}<button aria-label=\"Sign in as {name}\">Sign in</button></form></li>",
        escape(&role),
        escape(&person.subject),
        escape(&person.organization),
        back.unwrap_or_default()
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
