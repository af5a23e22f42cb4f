use axum::response::{Html, IntoResponse, Redirect, Response};
use http::StatusCode;
use jiff::{Timestamp, tz::TimeZone};
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;
use uuid::Uuid;
use watertight::{
    argument::CSRF_FIELD,
    door::Leads,
    problem::{Problem, status_of_fault},
};
use watertight_identity::page::PageSecret;
use watertight_tenancy::TenantTx;
use watertight_terms::{Fault, Kind, problems};

use crate::resources::{
    alerts,
    audit::{Audit, actions::View},
    incidents::{self, Incident},
};

/// Somebody who is signed in: their session, and what they are shown the way to.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) secret: PageSecret,
    pub(super) sees_ledger: bool,
    sees_alerts: bool,
    sees_incidents: bool,
    pub(super) handles_alerts: bool,
}

impl Visitor {
    /// Whoever the transaction is of.
    pub(super) fn of(tx: &mut TenantTx, secret: PageSecret) -> Self {
        let sees_ledger = tx.grant_new::<View, Audit>().is_ok();
        let sees_incidents = tx.grant_new::<incidents::actions::View, Incident>().is_ok();
        let (sees_alerts, handles_alerts) = alerts::shows(tx);
        Self {
            secret,
            sees_ledger,
            sees_alerts,
            sees_incidents,
            handles_alerts,
        }
    }
}

/// A page with its head and, for somebody who is signed in, the way round.
pub(super) fn frame(title: &str, visitor: Option<&Visitor>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – Production Tool" }
                link rel="stylesheet" href="/ui/style.css";
                link rel="icon" href="/ui/icon.svg";
            }
            body {
                header {
                    strong { "Production Tool" }
                    @if let Some(visitor) = visitor {
                        nav {
                            a href="/ui/bookings" { "Bookings" }
                            @if visitor.sees_alerts { a href="/ui/alerts" { "Alerts" } }
                            @if visitor.sees_incidents { a href="/ui/incidents" { "Incidents" } }
                            @if visitor.sees_ledger { a href="/ui/audit" { "Ledger" } }
                            a href="/ui/sessions" { "Sessions" }
                            form method="post" action="/ui/logout" {
                                (token_field(&visitor.secret))
                                button { "Sign out" }
                            }
                        }
                    }
                }
                main {
                    h1 { (title) }
                    (body)
                }
            }
        }
    }
}

/// The field without which a form changes nothing.
pub(super) fn token_field(secret: &PageSecret) -> Markup {
    html! { input type="hidden" name=(CSRF_FIELD) value=(secret.csrf_token()); }
}

/// An instant of an answer as people read it, in the studio's zone: `25 Nov 2026, 10:00`.
pub(super) fn when(value: &Value, zone: &TimeZone) -> String {
    let text = value.as_str().unwrap_or_default();
    let at = text.parse::<Timestamp>();
    at.map_or_else(
        |_| text.to_owned(),
        |at| {
            at.to_zoned(zone.clone())
                .strftime("%-d %b %Y, %H:%M")
                .to_string()
        },
    )
}

/// The studio's zone.
///
/// # Errors
/// When the studio was made with one that is unknown here: a defect of ours.
pub(super) fn zone(tx: &TenantTx) -> Result<TimeZone, Fault> {
    TimeZone::get(tx.studio().1).map_err(|error| Fault::bug(format!("the studio's zone: {error}")))
}

/// Answers a fault to somebody who looks at a page.
pub fn refuse(fault: &Fault, request_id: Uuid, leads: Leads) -> Response {
    if fault.kind() == Kind::Unauthenticated && leads == Leads::ToSignIn {
        return Redirect::to("/ui/sign-in").into_response();
    }
    let problem = Problem::of(fault, request_id);
    let said = |member: &str| {
        let value = problem.document().get(member);
        value
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let body = html! {
        p class="detail" { (said("detail")) }
        // Whoever is not let in has nobody here to ask.
        @if [problems::FROZEN, problems::ISOLATED].contains(&fault.problem()) {
            p { (fault.problem().about()) }
        }
        @if !fault.field_faults().is_empty() {
            ul {
                @for field in fault.field_faults() {
                    li { code { (field.pointer.trim_start_matches('/')) } " " (field.detail) }
                }
            }
        }
        p { a href="/ui/bookings" { "Back to the bookings" } }
        p class="quiet" { "Request " (request_id) }
    };
    let status =
        StatusCode::from_u16(status_of_fault(fault)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let page = frame(&said("title"), None, &body).into_string();
    let mut response = (status, Html(page)).into_response();
    response
        .headers_mut()
        .insert(http::header::CONTENT_SECURITY_POLICY, CSP);
    response
}

/// What a page may load, and where its forms may go: nothing but our own.
pub(super) const CSP: http::HeaderValue =
    http::HeaderValue::from_static(watertight::answer::PAGE_CSP);

/// The words of a list, with commas.
pub(super) fn joined(words: &Value) -> String {
    let words = words.as_array().into_iter().flatten();
    words
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}
