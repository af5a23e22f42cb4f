use garde::Validate;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Html},
    argument::{Form, IfMatch, PageCaller, Path, from_value},
    door::{Routes, get, post},
};
use watertight_identity::page::PageSecret;
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;

use super::{
    filled::{Filled, older},
    frame::{Visitor, frame, token_field, when, zone},
};
use crate::{
    app::Desk,
    resources::alerts::{
        self, Alert, Asked, STATES,
        actions::{Handle, View},
    },
};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .route("/ui/alerts", get(list).page().needs::<View, Alert>())
        .route(
            "/ui/alerts/{id}",
            post(handle).page().needs::<Handle, Alert>(),
        )
}

async fn list(
    mut tx: TenantTx,
    desk: Desk,
    PageCaller(secret): PageCaller,
    Filled(asked): Filled<Asked>,
) -> Result<Answer<Html>, Fault> {
    let (zone, visitor) = (zone(&tx)?, Visitor::of(&mut tx, secret));
    let title = format!("Alerts of {}", tx.studio().0);
    let filters = asked.0.filters();
    let listed = alerts::list(tx, desk, asked).await?;
    listed.page(|list| {
        let alerts = list["items"].as_array().map(Vec::as_slice);
        let alerts = alerts.unwrap_or_default();
        let body = html! {
            p class="quiet" { "What looks wrong in the studio, newest first: somebody does what they, or others in their role, never do." }
            (filter(&filters))
            @if alerts.is_empty() { p { "Nothing looks wrong." } }
            @for alert in alerts {
                (card(alert, &visitor, &zone))
            }
            (older("/ui/alerts", &filters, list))
        };
        frame(&title, Some(&visitor), &body).into_string()
    })
}

fn filter(filters: &[(&'static str, String)]) -> Markup {
    let value = |name: &str| {
        let given = filters.iter().find(|(given, _)| *given == name);
        given.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let choice = |name: &'static str, words: &[&str]| {
        html! {
            select name=(name) {
                option value="" { "any" }
                @for word in words { option value=(word) selected[*word == value(name)] { (word) } }
            }
        }
    };
    html! {
        form class="fields filters" method="get" action="/ui/alerts" {
            label { "State" (choice("state", &STATES)) }
            label { "Severity" (choice("severity", &["low", "medium", "high", "critical"])) }
            button { "Filter" }
        }
    }
}

/// An alert, what shows it, what to do, and for whoever may handle it what they did.
fn card(alert: &Value, visitor: &Visitor, zone: &TimeZone) -> Markup {
    let text = |field: &str| alert[field].as_str().unwrap_or_default();
    let times = alert["times"].as_i64().unwrap_or_default();
    html! {
        article class="alert" data-severity=(text("severity")) data-state=(text("state")) {
            h2 { (text("kind").replace('-', " ")) " " span class="quiet" { (text("severity")) ", " (text("state")) } }
            p {
                @if let Some(subject) = alert["subject"].as_str() { code { (subject) } " · " }
                (when(&alert["opened_at"], zone))
                @if times > 1 { ", and " (times - 1) " times since, last " (when(&alert["last_seen_at"], zone)) }
            }
            p { (text("advice")) }
            (evidence(alert, visitor))
            @if visitor.handles_alerts { (form(alert, &visitor.secret)) }
            @else if !text("note").is_empty() { p class="quiet" { (text("note")) } }
        }
    }
}

/// Numbers of entries, which lead to them for whoever may read the ledger.
fn evidence(alert: &Value, visitor: &Visitor) -> Markup {
    let numbers: Vec<i64> = alert["evidence"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_i64)
        .collect();
    html! {
        p class="quiet evidence" {
            "Entries "
            @for number in numbers {
                @if visitor.sees_ledger {
                    a href={ "/ui/audit/export?from=" (number) "&limit=1" } { (number) } " "
                } @else { (number) " " }
            }
        }
    }
}

fn form(alert: &Value, secret: &PageSecret) -> Markup {
    let text = |field: &str| alert[field].as_str().unwrap_or_default();
    html! {
        form class="fields" method="post" action={ "/ui/alerts/" (text("id")) } {
            (token_field(secret))
            input type="hidden" name="version" value=(alert["version"]);
            label { "State" select name="state" {
                @for state in STATES { option value=(state) selected[state == text("state")] { (state) } }
            } }
            label { "What is to be remembered" input name="note" maxlength="1000" value=(text("note")); }
            button { "Save" }
        }
    }
}

/// What a form says of an alert that somebody looked at.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Given {
    #[garde(range(min = 1))]
    version: i32,
    #[garde(length(bytes, max = 20))]
    state: String,
    #[garde(skip)]
    note: Option<String>,
}

async fn handle(
    tx: TenantTx,
    desk: Desk,
    id: Path<Uuid>,
    Form(given): Form<Given>,
) -> Result<Answer<Html>, Fault> {
    let note = given.note.unwrap_or_default();
    let body = from_value(&json!({ "state": given.state, "note": note }))?;
    let version = IfMatch(Some(given.version));
    alerts::handle(tx, desk, id, version, body)
        .await?
        .see_other("/ui/alerts")
}
