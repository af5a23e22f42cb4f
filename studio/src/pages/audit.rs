use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde_json::Value;
use watertight::{
    answer::{Answer, Html, Nonce},
    argument::PageCaller,
    door::{Routes, get},
};
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;

use super::{
    filled::{Filled, older},
    frame::{Visitor, frame, joined, when, zone},
};
use crate::{
    app::Desk,
    resources::audit::{self, Asked, Audit, actions::View},
};

pub(super) fn routes(routes: Routes) -> Routes {
    let routes = routes.route(
        "/ui/audit",
        get(list).page().expensive().needs::<View, Audit>(),
    );
    // What the verifier of the page loads, and what is saved from it: the API's own answers.
    audit::downloads(routes)
}

async fn list(
    mut tx: TenantTx,
    desk: Desk,
    PageCaller(secret): PageCaller,
    Filled(asked): Filled<Asked>,
) -> Result<Answer<Html>, Fault> {
    let (zone, visitor) = (zone(&tx)?, Visitor::of(&mut tx, secret));
    let title = format!("Ledger of {}", tx.studio().0);
    let filters = asked.0.filters();
    let nonce = Nonce::new(&desk.random);
    let listed = audit::list(tx, desk, asked).await?;
    let page = listed.page(|list| {
        let body = html! {
            p class="quiet" { "Every access to the studio's data, newest first. Looking at it is an access too." }
            (verifier(&nonce))
            (filter(&filters))
            (table(list, &zone))
            (older("/ui/audit", &filters, list))
            (exports())
        };
        frame(&title, Some(&visitor), &body).into_string()
    })?;
    page.with_scripts(&nonce)
}

/// The part that a script fills: without one it says where else to verify.
fn verifier(nonce: &Nonce) -> Markup {
    html! {
        section id="verify" class="verify" aria-live="polite" {
            p id="state" {
                "Whether anything was changed, removed or cut off can be computed here, in this browser, from what was signed."
            }
            progress id="progress" value="0" max="1" hidden {}
            p class="buttons" {
                button id="go" hidden { "Verify the whole ledger" }
                button id="keep" hidden { "Save what was verified" }
            }
            noscript { p { "This needs JavaScript; " code { "watertight verify" } " does it without a browser." } }
            script type="module" nonce=(nonce) src="/ui/audit.js" {}
        }
    }
}

/// What is looked for: the name of each field of the form, and its value.
type Filters = [(&'static str, String); 4];

fn filter(filters: &Filters) -> Markup {
    let value = |name: &str| {
        let given = filters.iter().find(|(given, _)| *given == name);
        given.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let outcome = value("outcome");
    html! {
        form class="fields filters" method="get" action="/ui/audit" {
            label { "Who" input name="actor" maxlength="100" value=(value("actor")) placeholder="user_…, service:…"; }
            label { "What" input name="action" maxlength="100" value=(value("action")) placeholder="booking.confirm"; }
            label { "Of what" input name="resource" maxlength="100" value=(value("resource")) placeholder="artist"; }
            label { "Outcome" select name="outcome" {
                option value="" { "any" }
                @for one in ["allowed", "refused", "failed"] { option value=(one) selected[one == outcome] { (one) } }
            } }
            button { "Filter" }
        }
    }
}

fn table(list: &Value, zone: &TimeZone) -> Markup {
    let entries = list["items"].as_array().map(Vec::as_slice);
    let entries = entries.unwrap_or_default();
    html! {
        @if entries.is_empty() { p class="quiet" { "There is nothing to see here." } }
        @else {
            div class="table" { table class="ledger" {
                thead { tr { th { "Number" } th { "Time" } th { "Who" } th { "What" } th { "Rows" } th { "Changed" } th { "Outcome" } th { "From" } } }
                tbody { @for entry in entries { (row(entry, zone)) } }
            } }
        }
    }
}

fn row(entry: &Value, zone: &TimeZone) -> Markup {
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let changes = entry["changes"].as_array().map(Vec::as_slice);
    html! {
        tr {
            td { (entry["seq"]) }
            td { (when(&entry["time"], zone)) }
            td { (text("actor")) br; span class="quiet" { (text("role")) } }
            td { (text("action")) @if entry["opened"].as_array().is_some_and(|opened| !opened.is_empty()) { br; span class="quiet" { "opened " (joined(&entry["opened"])) } } }
            td { (entry["ids_count"]) }
            td { @for change in changes.unwrap_or_default().iter().take(3) { div { (change["table"].as_str().unwrap_or_default()) ": " (joined(&change["columns"])) } } }
            td { (text("outcome")) " " span class="quiet" { (entry["status"]) @if let Some(rule) = entry["rule"].as_str() { br; (rule) } } }
            td { (text("address")) br; span class="quiet" { (text("client_request_id")) } }
        }
    }
}

/// A thousand lines each: a file that is whole is what the verifier saves.
fn exports() -> Markup {
    html! {
        h2 { "Take it along" }
        p { "The first 1,000 entries; the API has the rest, from any number on." }
        ul {
            li { a href="/ui/audit/export?format=csv" download="ledger.csv" { "For spreadsheets (CSV)" } }
            li { a href="/ui/audit/export" download="ledger.jsonl" { "A line of JSON each" } }
            li { a href="/ui/audit/export?format=ocsf" download="ledger.ocsf.jsonl" { "For a SIEM (OCSF)" } }
            li { a href="/ui/audit/checkpoints" download="checkpoints.json" { "Checkpoints and public keys" } " for " code { "watertight verify" } }
        }
    }
}
