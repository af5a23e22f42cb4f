//! Whoever is signed in at Clerk, as an extractor of axum.
//!
//!     cargo run -p watertight-identity --example axum -- https://clerk.example.com https://app.example.com
//!     curl -H "Authorization: Bearer $TOKEN" 127.0.0.1:3000

use axum::{
    Router,
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use watertight_identity::{Keys, Member, Verifier, VerifierSettings, Who, bearer};
use watertight_outbound::{Outbound, OutboundRules};
use watertight_terms::{Clock, Fault, Kind};

/// A handler that takes one is reached by nobody else.
struct SignedIn(Member);

impl FromRequestParts<Verifier> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, verifier: &Verifier) -> Result<Self, Response> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        let token = bearer(header).map_err(refuse)?;
        let caller = verifier.verify(token).await.map_err(refuse)?;
        match caller.who() {
            Who::Member(member) => Ok(Self(member.clone())),
            _ => Err(refuse(Fault::not_allowed())),
        }
    }
}

/// The fault's spoken words; its log line stays here.
fn refuse(fault: Fault) -> Response {
    let status = match fault.kind() {
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::NotAllowed => StatusCode::FORBIDDEN,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut answer = (status, fault.spoken().to_owned()).into_response();
    if let Some(wait_s) = fault.retry_after_s() {
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, wait_s.into());
    }
    answer
}

async fn hello(SignedIn(member): SignedIn) -> String {
    format!("hello {} of {}", member.subject(), member.organization())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(issuer), Some(party)) = (arguments.next(), arguments.next()) else {
        return Err("give the issuer and the origin that asks for tokens".into());
    };
    let keys = Keys::jwks(
        Outbound::new(OutboundRules::default())?,
        &format!("{issuer}/.well-known/jwks.json"),
    );
    let settings = VerifierSettings::new(&issuer, [party.as_str()]);
    let verifier = Verifier::new(settings, keys, Clock::system())?;
    let router = Router::new().route("/", get(hello)).with_state(verifier);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, router).await?;
    Ok(())
}
