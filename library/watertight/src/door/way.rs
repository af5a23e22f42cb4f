use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header, request::Parts};
use uuid::Uuid;
use watertight_edge::rate::Stranger;
use watertight_identity::{
    Caller, bearer,
    feed::FeedSecret,
    page::{COOKIE, PageSecret, Setting},
};
use watertight_terms::{Fault, Kind, Unproven, problems};

use super::{Door, strangers::marked};
use crate::{
    argument,
    problem::{self, Rule},
};

/// Who comes to a route, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Programs, with a token in `Authorization`. Never with a cookie: nothing that a browser sends
    /// by itself is an authority here.
    Api,
    /// A page of ours that exchanges a token for a cookie.
    SignIn,
    /// Browsers, with the cookie of a page session.
    Page,
    /// Calendar programs, with an address that is a secret: `{file}` of the path. Whatever is wrong with
    /// it, they are answered as if there were nothing.
    Feed,
}

/// What a door needs to serve pages.
#[derive(Debug, Clone)]
pub struct Pages {
    /// The origins of our own pages, compared to the letter.
    pub origins: Vec<String>,
    /// Answers a fault to somebody who looks at a page: with whether it may lead to the sign-in.
    pub refuse: fn(&Fault, Uuid, Leads) -> Response,
}

/// Where a refusal may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    /// Somebody looked at something: whoever is not signed in may be sent to the sign-in.
    ToSignIn,
    /// Something was to be changed: it is told what became of it.
    Nowhere,
}

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Door {
    pub(super) async fn caller(
        &self,
        way: Way,
        parts: &Parts,
        path: &[(String, String)],
    ) -> Result<Caller, Fault> {
        match way {
            Way::Api | Way::SignIn => {
                let value = only(&parts.headers, &header::AUTHORIZATION);
                self.0.verifier.verify(bearer(value)?).await
            }
            Way::Page => secret(&parts.headers)
                .map(|secret| Caller::page(&secret))
                .ok_or_else(|| signed_out(&parts.headers)),
            Way::Feed => feed_secret(path)
                .map(|secret| Caller::feed(&secret))
                .ok_or_else(|| Fault::unseen().unproven(Unproven::Malformed)),
        }
    }

    /// Refuses what a page of another origin makes a browser do here (CWE-352): whatever changes
    /// something was made by a page of ours, and a form carries its session's own token.
    pub(super) fn check_setting(&self, way: Way, parts: &Parts, body: &Bytes) -> Result<(), Fault> {
        let safe = matches!(parts.method, Method::GET | Method::HEAD);
        if matches!(way, Way::Api | Way::Feed) || safe {
            return Ok(());
        }
        let origins = self.0.pages.as_ref().map(|pages| pages.origins.as_slice());
        let setting = Setting {
            origin: only(&parts.headers, &header::ORIGIN),
            fetch_site: only(&parts.headers, &FETCH_SITE),
        };
        if !setting.is_ours(origins.unwrap_or_default()) {
            return Err(foreign("the request was not made by a page of ours"));
        }
        if way == Way::Page {
            let token = argument::csrf_token(body).unwrap_or_default();
            if !secret(&parts.headers).is_some_and(|secret| secret.is_csrf_token(&token)) {
                return Err(foreign("the form is not of this session"));
            }
        }
        Ok(())
    }

    /// How faults are answered on a way: as problems to programs, as pages to people.
    pub(super) fn refusals(
        &self,
        way: Way,
        method: &Method,
    ) -> impl Fn(&Fault, Uuid) -> Response + use<> {
        let pages = self.0.pages.clone().filter(|_| way == Way::Page);
        let leads = match *method {
            Method::GET | Method::HEAD => Leads::ToSignIn,
            _ => Leads::Nowhere,
        };
        move |fault, request_id| {
            let response = match &pages {
                Some(pages) => {
                    problem::log(fault, request_id);
                    (pages.refuse)(fault, request_id, leads)
                }
                None => problem::refuse(fault, request_id),
            };
            let mut response = marked(response, fault);
            Rule::note(fault, &mut response);
            if way == Way::Feed && fault.kind() == Kind::Unseen {
                // Whoever guesses addresses pays as whoever guesses tokens.
                response.extensions_mut().insert(Stranger);
            }
            response
        }
    }
}

/// The parameter of the path that is a feed's secret and what calendars know files by.
const FILE: &str = "file";
const FILE_END: &str = ".ics";

/// The feed's secret in a request's path.
pub(crate) fn feed_secret(path: &[(String, String)]) -> Option<FeedSecret> {
    let (_, file) = path.iter().find(|(name, _)| name == FILE)?;
    FeedSecret::parse(file.strip_suffix(FILE_END)?)
}

/// The page session's secret among a request's cookies.
pub(crate) fn secret(headers: &HeaderMap) -> Option<PageSecret> {
    PageSecret::from_cookies(only(headers, &header::COOKIE)?)
}

/// The one value of a header; one that is there twice is none.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Whoever has no cookie tries nothing.
fn signed_out(headers: &HeaderMap) -> Fault {
    let brought = only(headers, &header::COOKIE).is_some_and(|cookies| cookies.contains(COOKIE));
    let why = if brought {
        Unproven::Malformed
    } else {
        Unproven::Absent
    };
    Fault::new(
        problems::UNAUTHENTICATED,
        "you are not signed in, or your session has ended",
    )
    .unproven(why)
}

fn foreign(why: &'static str) -> Fault {
    Fault::new(
        problems::FOREIGN_FORM,
        "this did not come from a page of yours; load the page again and try once more",
    )
    .log(why)
}
