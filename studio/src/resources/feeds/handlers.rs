use aws_lc_rs::digest::{SHA256, digest};
use garde::Validate;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::{Answer, Calendar, Created, Draft, Nothing},
    argument::{FeedCaller, Id, IfNoneMatch, Path, Valid},
};
use watertight_authority::Principal;
use watertight_identity::feed::FeedSecret;
use watertight_tenancy::{TenantTx, ToSql};
use watertight_terms::{Entry, Fault, Kind, problems};

use super::{
    Feed,
    actions::{Create, End, Read, View},
    appointment::{Appointment, LIST, ViewAppointment},
    calendar,
};
use crate::{
    app::Desk,
    resources::{
        page::{List, wrong_field},
        projects::{self, Project},
    },
};

/// A member has at most so many.
const FEEDS_MOST: i32 = 20;
/// A feed has at most so many bookings.
const BOOKINGS_MOST: i64 = 2_000;
const MONTHS_BACK: i64 = 3;
const MONTHS_AHEAD: i64 = 18;
/// What is called off is shown so for so long.
const CANCELLED_DAYS: i64 = 30;

/// A feed as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Feed")]
pub(super) struct FeedView {
    id: Uuid,
    created_at: Timestamp,
    /// The project that it shows; none: the own bookings.
    project_id: Option<Uuid>,
}

impl From<watertight_tenancy::Feed> for FeedView {
    fn from(feed: watertight_tenancy::Feed) -> Self {
        Self {
            id: feed.id,
            created_at: feed.created_at,
            project_id: feed.about,
        }
    }
}

/// The own feeds, at most twenty: one page is all of them.
pub(super) async fn list(mut tx: TenantTx) -> Result<Answer<List<FeedView>>, Fault> {
    let _granted = tx.grant_new::<View, Feed>()?;
    let feeds = tx.feeds(None).await?;
    let ids: Vec<Uuid> = feeds.iter().map(|feed| feed.id).collect();
    let items = feeds.into_iter().map(FeedView::from).collect();
    let entry = Entry::new("feed.view", "feed").ids(ids);
    Draft::ok(List::whole(items))?.finish(tx, entry).await
}

/// A new feed.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// The project that it shows; absent: the own bookings.
    #[garde(skip)]
    project_id: Option<Id>,
}

/// A new feed as answered, with its address: this once.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewFeed")]
pub(super) struct NewFeedView {
    id: Uuid,
    created_at: Timestamp,
    project_id: Option<Uuid>,
    url: String,
}

pub(super) async fn create(
    mut tx: TenantTx,
    desk: Desk,
    Valid(new): Valid<New>,
) -> Result<Answer<Created<NewFeedView>>, Fault> {
    let granted = tx.grant_new::<Create, Feed>()?;
    let project = new.project_id.map(|Id(id)| id);
    if let Some(project) = project {
        let granted = tx.grant::<projects::actions::View, Project>(project);
        let _seen = granted.await.map_err(unless_seen)?;
    }
    let (id, secret) = (desk.random.uuid(), FeedSecret::new(&desk.random));
    if !tx
        .open_feed(granted, id, &secret, project, FEEDS_MOST)
        .await?
    {
        let spoken = format!("a member has at most {FEEDS_MOST} feeds; end one first");
        return Err(Fault::new(problems::CONFLICT, spoken));
    }
    let view = NewFeedView {
        id,
        created_at: desk.clock.now(),
        project_id: project,
        url: format!("{}/feeds/{}.ics", desk.origin, secret.to_text()),
    };
    let entry = Entry::new("feed.create", "feed").ids([id]);
    Draft::created(view, "/v1/feeds")?.commit(tx, entry).await
}

pub(super) async fn end(mut tx: TenantTx, Path(id): Path<Uuid>) -> Result<Answer<Nothing>, Fault> {
    let granted = tx.grant_new::<End, Feed>()?;
    tx.end_feed(granted, id).await?;
    Draft::no_content()
        .commit(tx, Entry::new("feed.end", "feed").ids([id]))
        .await
}

pub(super) async fn read(
    mut tx: TenantTx,
    desk: Desk,
    FeedCaller(secret): FeedCaller,
    known: IfNoneMatch,
) -> Result<Answer<Calendar>, Fault> {
    let _granted = tx.grant_new::<Read, Feed>()?;
    let mut feeds = tx.feeds(Some(&secret)).await?.into_iter();
    let feed = feeds.find(|feed| feed.here).ok_or_else(Fault::unseen)?;
    let name = match feed.about {
        Some(project) => {
            let granted = tx.grant::<projects::actions::View, Project>(project);
            granted.await?.row().name().to_owned()
        }
        None => tx.studio().0.to_owned(),
    };
    let appointments = appointments(&mut tx, &desk, feed.about).await?;
    let (_, zone) = tx.studio();
    let calendar = calendar::Calendar { name: &name, zone };
    let events = appointments.iter().flat_map(Appointment::events).collect();
    let text = calendar.write(events)?;
    let tag = format!("\"{}\"", hex::encode(digest(&SHA256, text.as_bytes())));
    let ids = appointments.iter().map(|appointment| appointment.id);
    let entry = Entry::new("feed.read", "feed").ids(std::iter::once(feed.id).chain(ids));
    let draft = match known.has(&tag) {
        true => Draft::not_modified(&tag)?,
        false => Draft::calendar(text, &tag)?,
    };
    draft.finish(tx, entry).await
}

/// What the member may view of the own bookings, or of a project's.
async fn appointments(
    tx: &mut TenantTx,
    desk: &Desk,
    project: Option<Uuid>,
) -> Result<Vec<Appointment>, Fault> {
    let beyond = |error: jiff::Error| Fault::bug(format!("a feed's window: {error}"));
    let zone = TimeZone::get(tx.studio().1).map_err(beyond)?;
    // From midnight on: what has not changed is the same all day, and so is its tag.
    let today = desk.clock.now().to_zoned(zone).start_of_day();
    let today = today.map_err(beyond)?;
    let edge = |span: jiff::Span| today.checked_add(span).map(|edge| edge.timestamp());
    let from = edge(-MONTHS_BACK.months()).map_err(beyond)?;
    let to = edge(MONTHS_AHEAD.months()).map_err(beyond)?;
    let cancelled_since = edge(-CANCELLED_DAYS.days()).map_err(beyond)?;
    let artist = match (project, &tx.standing().principal) {
        (Some(_), _) => None,
        // Who is no artist has no bookings: nobody's id is nil.
        (None, Principal::Member { artist, .. }) => Some(artist.unwrap_or_default()),
        (None, Principal::Service { .. }) => Some(Uuid::nil()),
    };
    let parameters: [&(dyn ToSql + Sync); 6] = [
        &artist,
        &project,
        &from,
        &to,
        &cancelled_since,
        &BOOKINGS_MOST,
    ];
    tx.page::<ViewAppointment, Appointment>(LIST, &parameters)
        .await
}

/// Absent, foreign and not to be seen are one answer.
fn unless_seen(fault: Fault) -> Fault {
    let detail = "is no project that you may see";
    match fault.kind() {
        Kind::Unseen => wrong_field("/project_id", "unknown", detail),
        _ => fault,
    }
}
