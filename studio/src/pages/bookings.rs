use garde::Validate;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Html},
    argument::{Form, PageCaller, Path, Query},
    door::{Routes, get, post},
};
use watertight_identity::page::PageSecret;
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;

use super::frame::{Visitor, frame, token_field, when, zone};
use crate::{
    app::Desk,
    resources::{
        artists,
        bookings::{
            self, Asked, Booking, New,
            actions::{Create, View},
        },
        projects,
    },
};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .route("/ui/bookings", get(list).page().needs::<View, Booking>())
        .route(
            "/ui/bookings/{id}",
            get(show).page().needs::<View, Booking>(),
        )
        .route(
            "/ui/bookings/new",
            post(create).page().needs::<Create, Booking>(),
        )
}

async fn list(
    mut tx: TenantTx,
    desk: Desk,
    PageCaller(secret): PageCaller,
    asked: Query<Asked>,
) -> Result<Answer<Html>, Fault> {
    let zone = zone(&tx)?;
    let visitor = Visitor::of(&mut tx, secret);
    let title = format!("Bookings of {}", tx.studio().0);
    let may_create = tx.grant_new::<Create, Booking>().is_ok();
    let artists = artists::choices(&mut tx).await?;
    let projects = projects::choices(&mut tx).await?;
    let words = asked.0.words().unwrap_or_default().to_owned();
    bookings::list(tx, desk, asked).await?.page(|list| {
        let body = html! {
            form class="search" method="get" action="/ui/bookings" {
                input type="search" name="q" value=(words) maxlength="100" aria-label="Words in title or reference";
                button { "Search" }
            }
            (table(list, &artists, &projects, &zone))
            @if may_create { (form(&visitor.secret, &artists, &projects, &zone)) }
        };
        frame(&title, Some(&visitor), &body).into_string()
    })
}

/// An artist's id and name.
type Choice = (Uuid, String);

/// The name of what a booking's field refers to.
fn name<'a>(booking: &Value, field: &str, choices: &'a [Choice]) -> &'a str {
    let id = booking[field].as_str().and_then(|id| id.parse().ok());
    let choice = choices.iter().find(|(choice, _)| Some(*choice) == id);
    choice.map_or("", |(_, name)| name)
}

/// The state, and an option's rank.
fn standing(booking: &Value) -> String {
    let state = text(booking, "state").replace('_', " ");
    match booking["rank"].as_i64() {
        Some(rank) => format!("{state} {rank}"),
        None => state,
    }
}

fn table(list: &Value, artists: &[Choice], projects: &[Choice], zone: &TimeZone) -> Markup {
    let bookings = list["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    html! {
        @if bookings.is_empty() { p class="quiet" { "There is nothing to see here." } }
        @else {
            div class="table" { table {
                thead { tr { th { "Reference" } th { "Title" } th { "Artist" } th { "Project" } th { "State" } th { "From" } th { "To" } th { "Notes" } } }
                tbody {
                    @for booking in bookings {
                        tr {
                            td { a href={ "/ui/bookings/" (text(booking, "id")) } { (text(booking, "reference")) } }
                            td { (text(booking, "title")) }
                            td { (name(booking, "artist_id", artists)) }
                            td { (name(booking, "project_id", projects)) }
                            td { (standing(booking)) }
                            td { (when(&booking["starts_at"], zone)) }
                            td { (when(&booking["ends_at"], zone)) }
                            td { (text(booking, "notes")) }
                        }
                    }
                }
            } }
        }
        @if let Some(cursor) = list["next_cursor"].as_str() {
            p { a href={ "/ui/bookings?cursor=" (cursor) } { "More" } }
        }
    }
}

fn form(secret: &PageSecret, artists: &[Choice], projects: &[Choice], zone: &TimeZone) -> Markup {
    let zone = zone.iana_name().unwrap_or_default();
    html! {
        h2 { "New booking" }
        form class="fields" method="post" action="/ui/bookings/new" {
            (token_field(secret))
            label { "Artist" select name="artist_id" required {
                @for (id, name) in artists { option value=(id) { (name) } }
            } }
            label { "Project" select name="project_id" required {
                @for (id, name) in projects { option value=(id) { (name) } }
            } }
            label { "Title" input name="title" maxlength="200"; }
            label { "From (" (zone) ")" input type="datetime-local" name="starts_at" required; }
            label { "To (" (zone) ")" input type="datetime-local" name="ends_at" required; }
            label { "Reference" input name="reference" maxlength="32" placeholder="made for you"; }
            button { "Book" }
        }
    }
}

async fn show(
    mut tx: TenantTx,
    PageCaller(secret): PageCaller,
    id: Path<Uuid>,
) -> Result<Answer<Html>, Fault> {
    let zone = zone(&tx)?;
    let visitor = Visitor::of(&mut tx, secret);
    bookings::show(tx, id).await?.page(|booking| {
        let body = html! {
            dl {
                @for (field, value) in booking.as_object().into_iter().flatten() {
                    @if let Some(text) = shown(field, value, &zone) { dt { (field.replace('_', " ")) } dd { (text) } }
                }
            }
            p { a href="/ui/bookings" { "Back to the bookings" } }
        };
        let title = [text(booking, "reference"), text(booking, "title")].join(" ");
        frame(title.trim(), Some(&visitor), &body).into_string()
    })
}

fn text(booking: &Value, field: &str) -> String {
    booking[field].as_str().unwrap_or_default().to_owned()
}

fn shown(field: &str, value: &Value, zone: &TimeZone) -> Option<String> {
    match value {
        Value::String(_) if field.ends_with("_at") => Some(when(value, zone)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The form, before its times are read in the studio's zone.
#[derive(Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Given {
    #[garde(skip)]
    artist_id: Uuid,
    #[garde(skip)]
    project_id: Uuid,
    #[garde(skip)]
    title: Option<String>,
    #[garde(skip)]
    reference: Option<String>,
    #[garde(length(bytes, max = 40))]
    starts_at: String,
    #[garde(length(bytes, max = 40))]
    ends_at: String,
}

async fn create(tx: TenantTx, desk: Desk, Form(given): Form<Given>) -> Result<Answer<Html>, Fault> {
    let zone = zone(&tx)?;
    let mut body = serde_json::json!({
        "artist_id": given.artist_id,
        "project_id": given.project_id,
        "starts_at": instant("starts_at", &given.starts_at, &zone)?,
        "ends_at": instant("ends_at", &given.ends_at, &zone)?,
    });
    for (field, value) in [("title", given.title), ("reference", given.reference)] {
        if let (Some(value), Some(body)) = (value, body.as_object_mut()) {
            body.insert(field.to_owned(), value.into());
        }
    }
    let new: watertight::argument::Valid<New> = watertight::argument::from_value(&body)?;
    bookings::create(tx, desk, new)
        .await?
        .see_other("/ui/bookings")
}

/// An instant as a form gives it: `2031-05-01T10:00` in the studio's zone, or RFC 3339.
fn instant(field: &'static str, text: &str, zone: &TimeZone) -> Result<String, Fault> {
    use watertight_terms::{FieldFault, problems};
    let refused = |detail: String| {
        Fault::new(problems::INVALID, "a time cannot be read; see below").fields(vec![FieldFault {
            pointer: format!("/{field}"),
            code: "time",
            detail,
        }])
    };
    if text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    let local: jiff::civil::DateTime = text
        .parse()
        .map_err(|_| refused("is no date and time".to_owned()))?;
    // Twice a year a clock shows an hour twice, or never: neither is guessed.
    let at = zone.to_ambiguous_zoned(local).unambiguous().map_err(|_| {
        refused("the clock shows this time twice or never on that day; choose another".to_owned())
    })?;
    Ok(at.timestamp().to_string())
}
