use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde_json::Value;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Html},
    argument::{PageCaller, Path},
    door::{Routes, get},
};
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;

use super::{
    filled::Filled,
    frame::{Visitor, frame, joined, when, zone},
};
use crate::{
    app::Desk,
    resources::incidents::{self, AskedOfImpact, Incident, actions::View},
};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .route("/ui/incidents", get(list).page().needs::<View, Incident>())
        .route(
            "/ui/incidents/{id}",
            get(show).page().expensive().needs::<View, Incident>(),
        )
}

async fn list(mut tx: TenantTx, PageCaller(secret): PageCaller) -> Result<Answer<Html>, Fault> {
    let (zone, visitor) = (zone(&tx)?, Visitor::of(&mut tx, secret));
    let title = format!("Incidents of {}", tx.studio().0);
    incidents::list(tx).await?.page(|list| {
        let body = html! {
            p class="quiet" { "What was done when something went wrong in the studio, newest first. Each leads to what was touched." }
            (table(&["What", "Why", "State", "Opened", "By"], items(list, "items").iter().map(|one| incident(one, &zone))))
        };
        frame(&title, Some(&visitor), &body).into_string()
    })
}

fn incident(one: &Value, zone: &TimeZone) -> Markup {
    html! {
        td { a href={ "/ui/incidents/" (text(one, "id")) } { (text(one, "kind")) } }
        td { (text(one, "reason")) }
        td { (text(one, "state")) }
        td { (when(&one["opened_at"], zone)) }
        td { (text(one, "opened_by")) }
    }
}

async fn show(
    mut tx: TenantTx,
    desk: Desk,
    PageCaller(secret): PageCaller,
    id: Path<Uuid>,
    Filled(asked): Filled<AskedOfImpact>,
) -> Result<Answer<Html>, Fault> {
    let (zone, visitor) = (zone(&tx)?, Visitor::of(&mut tx, secret));
    let path = format!("/ui/incidents/{}", id.0);
    incidents::impact(tx, desk, id, asked).await?.page(|impact| {
        let body = html! {
            (window(impact, &path, &zone))
            (whose(&impact["whose"]))
            (unsaid(impact))
            h2 { "What was touched" }
            (table(&["Record", "What was done", "By", "From", "When"], items(impact, "records").iter().map(|one| record(one, &zone))))
            h2 { "Who was there" }
            p class="quiet" { "Whom the incident is about, whoever else used their addresses, and where else they were." }
            (table(&["Who", "From", "Requests", "Records", "When"], items(impact, "trails").iter().map(|one| trail(one, &zone))))
        };
        frame("What an incident touched", Some(&visitor), &body).into_string()
    })
}

/// From when until when, and a form for another window.
fn window(impact: &Value, path: &str, zone: &TimeZone) -> Markup {
    html! {
        p { a href="/ui/incidents" { "All incidents" } }
        p { "From " (when(&impact["from"], zone)) " until " (when(&impact["to"], zone)) ", by the studio's ledger." }
        form class="fields filters" method="get" action=(path) {
            label { "From" input name="from" maxlength="40" value=(text(impact, "from")); }
            label { "Until" input name="to" maxlength="40" value=(text(impact, "to")); }
            button { "Look there" }
        }
    }
}

fn whose(whose: &Value) -> Markup {
    html! {
        @if whose["everybody"] == true { p { "It is about nobody alone: what everybody did is here." } }
        @else { p { "It is about " (joined(&whose["actors"])) " " (joined(&whose["addresses"])) } }
    }
}

/// What the ledger does not tell comes first: without it the rest would say too much.
fn unsaid(impact: &Value) -> Markup {
    let unlisted = impact["unlisted"].as_i64().unwrap_or_default();
    html! {
        section class="alert" data-severity="medium" {
            h2 { "What cannot be said" }
            @if impact["is_whole"] == false { p { strong { "There is more than is shown here: look at a shorter window." } } }
            @if unlisted > 0 { p { (unlisted) " more records were shown in lists that the ledger does not name one by one." } }
            ul { @for one in items(impact, "cannot_be_said") { li { (one.as_str().unwrap_or_default()) } } }
        }
    }
}

fn record(one: &Value, zone: &TimeZone) -> Markup {
    let opened = joined(&one["opened"]);
    html! {
        td { (text(one, "resource")) br; code class="quiet" { (text(one, "id")) } }
        td {
            (joined(&one["actions"]))
            @if one["is_changed"] == true { br; strong { "changed" } }
            @if !opened.is_empty() { br; span class="quiet" { "opened " (opened) } }
        }
        td { (joined(&one["actors"])) (by(&joined(&one["acted_by"]))) }
        td { (joined(&one["addresses"])) }
        td { (span(one, zone)) br; span class="quiet" { (one["requests"]) @if one["requests"] == 1 { " request" } @else { " requests" } } }
    }
}

fn trail(one: &Value, zone: &TimeZone) -> Markup {
    html! {
        td { (text(one, "actor")) (by(text(one, "acted_by"))) @if one["is_of_incident"] == true { br; strong { "of the incident" } } }
        td { (text(one, "address")) }
        td { (one["requests"]) @if one["refused"] != 0 { br; span class="quiet" { (one["refused"]) " refused" } } }
        td { (one["records"]) }
        td { (span(one, zone)) }
    }
}

/// Who acted as somebody, if anybody did.
fn by(whom: &str) -> Markup {
    html! { @if !whom.is_empty() { br; span class="quiet" { "by " (whom) } } }
}

fn span(one: &Value, zone: &TimeZone) -> Markup {
    let (first, last) = (when(&one["first_at"], zone), when(&one["last_at"], zone));
    html! { (first) @if first != last { br; (last) } }
}

fn table(heads: &[&str], rows: impl ExactSizeIterator<Item = Markup>) -> Markup {
    html! {
        @if rows.len() == 0 { p { "Nothing is known of any." } }
        @else {
            div class="table" { table class="ledger" {
                thead { tr { @for head in heads { th { (head) } } } }
                tbody { @for row in rows { tr { (row) } } }
            } }
        }
    }
}

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
