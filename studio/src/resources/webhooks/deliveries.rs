//! What became of each telling.

use garde::Validate;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use watertight::{
    answer::Answer,
    argument::{CursorText, Id, IfMatch, Path, Query},
    door::{Routes, get, get_one, post},
};
use watertight_authority::{Fact, Resource};
use watertight_custody::{Days, Retention, Rule, Then};
use watertight_tenancy::{Change, Read, Row, Stored, TenantTx, ToSql};
use watertight_terms::{Fault, Limits, TenantId, problems};

use super::super::{
    Class, Columns,
    page::{self, List, Listed, Order, Paging, Sort, expect_version},
};
use crate::app::Desk;
use actions::{Replay, View};

/// A delivery, as stored.
#[derive(Debug)]
pub struct Delivery {
    tenant: TenantId,
    id: Uuid,
    version: i32,
    pub(super) created_at: Timestamp,
    updated_at: Timestamp,
    pub(super) webhook: Option<Uuid>,
    pub(super) member: Option<Uuid>,
    pub(super) of: Of,
    pub(super) state: State,
    pub(super) attempts: i32,
    pub(super) next_at: Timestamp,
    status: Option<i32>,
}

impl Resource for Delivery {
    const NOUN: &'static str = "delivery";
    const ENTITY: &'static str = "Delivery";

    fn id(&self) -> Uuid {
        self.id
    }

    fn tenant(&self) -> TenantId {
        self.tenant
    }

    fn version(&self) -> i32 {
        self.version
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        Vec::new()
    }
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A version of a booking.
    Booking(Uuid, i32),
    /// Entries of the ledger, from one number to another.
    Entries(i64, i64),
    /// An alert that was opened.
    Alert(Uuid),
    /// What somebody gave the word to tell, in an incident.
    Notice(Uuid),
}

impl Of {
    fn from_row(row: &Row) -> Result<Self, Fault> {
        let booking: (Option<Uuid>, Option<i32>) =
            (row.field("booking_id")?, row.field("booking_version")?);
        let entries: (Option<i64>, Option<i64>) = (row.field("first_seq")?, row.field("last_seq")?);
        let one = (row.field("alert_id")?, row.field("notice_id")?);
        match (booking, entries, one) {
            ((Some(booking), Some(version)), (None, None), (None, None)) => {
                Ok(Self::Booking(booking, version))
            }
            ((None, None), (Some(first), Some(last)), (None, None)) => {
                Ok(Self::Entries(first, last))
            }
            ((None, None), (None, None), (Some(alert), None)) => Ok(Self::Alert(alert)),
            ((None, None), (None, None), (None, Some(notice))) => Ok(Self::Notice(notice)),
            _ => Err(Fault::bug("a delivery of nothing, or of two things")),
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum State {
    Pending,
    Delivered,
    Dead,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    fn parse(name: &str) -> Result<Self, Fault> {
        let all = [Self::Pending, Self::Delivered, Self::Dead];
        let mut all = all.into_iter();
        all.find(|state| state.as_str() == name)
            .ok_or_else(|| Fault::bug(format!("a delivery in the state `{name}`")))
    }
}

/// What may be done with a delivery.
pub mod actions {
    crate::resources::actions! { super::Delivery:
        View "delivery.view", Attempt "delivery.attempt", Settle "delivery.settle", Replay "delivery.replay"
    }
}

pub(super) const COLUMNS: Columns = Columns {
    table: "studio.deliveries",
    columns: &[
        ("tenant_id", Class::Internal),
        ("id", Class::Internal),
        ("version", Class::Internal),
        ("created_at", Class::Internal),
        ("updated_at", Class::Internal),
        ("webhook_id", Class::Internal),
        ("member_id", Class::Internal),
        ("booking_id", Class::Internal),
        ("booking_version", Class::Internal),
        ("first_seq", Class::Internal),
        ("last_seq", Class::Internal),
        ("alert_id", Class::Internal),
        ("notice_id", Class::Internal),
        ("state", Class::Internal),
        ("attempts", Class::Internal),
        ("next_at", Class::Internal),
        ("status", Class::Internal),
    ],
    retention: Retention::By(Rule {
        name: "deliveries",
        step: 10,
        since: "the last attempt",
        days: Days::new(90, 7, 365),
        then: Then::Remove,
    }),
};

macro_rules! columns {
    () => {
        "tenant_id, id, version, created_at, updated_at, webhook_id, member_id, booking_id, booking_version, first_seq,
           last_seq, alert_id, notice_id, state, attempts, next_at, status"
    };
}

impl Stored for Delivery {
    const LOAD: Read = Read::new(concat!(
        "SELECT ",
        columns!(),
        " FROM studio.deliveries WHERE tenant_id = $1 AND id = $2"
    ));

    fn from_row(row: &Row) -> Result<Self, Fault> {
        let state: String = row.field("state")?;
        Ok(Self {
            tenant: TenantId(row.field("tenant_id")?),
            id: row.field("id")?,
            version: row.field("version")?,
            created_at: row.field("created_at")?,
            updated_at: row.field("updated_at")?,
            webhook: row.field("webhook_id")?,
            member: row.field("member_id")?,
            of: Of::from_row(row)?,
            state: State::parse(&state)?,
            attempts: row.field("attempts")?,
            next_at: row.field("next_at")?,
            status: row.field("status")?,
        })
    }
}

/// A page of the list. `$2` the artist whose rows alone the caller may see, which is nobody's; `$3` a
/// webhook, `$4` a state, `$5` and `$6` value and id after which it begins, `$7` its length.
macro_rules! list {
    ($after:literal, $direction:literal) => {
        Read::new(concat!(
            "SELECT ",
            columns!(),
            " FROM studio.deliveries WHERE tenant_id = $1 AND $2::uuid IS NULL
               AND ($3::uuid IS NULL OR webhook_id = $3) AND ($4::text IS NULL OR state = $4)
               AND ($6::uuid IS NULL OR (created_at, id) ",
            $after,
            " ($5::text::timestamptz, $6)) ORDER BY created_at ",
            $direction,
            ", id ",
            $direction,
            " LIMIT $7"
        ))
    };
}

impl Listed for Delivery {
    const ORDERS: &'static [Order<Self>] = &[Order {
        name: "created_at",
        up: list!(">", "ASC"),
        down: list!("<", "DESC"),
        value: |delivery| delivery.created_at.to_string(),
    }];
}

/// Whatever is done with a delivery.
pub(super) const WRITE: Change = Change::new(
    "UPDATE studio.deliveries SET version = version + 1, updated_at = $4, state = $5, attempts = $6, next_at = $7, status = $8
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);

/// A delivery as answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
struct DeliveryView {
    id: Uuid,
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// None: it goes to a member.
    webhook_id: Option<Uuid>,
    /// Who is told by mail; none: it goes to a webhook.
    member_id: Option<Uuid>,
    /// A booking's version was told: this one. None: entries of the ledger were.
    booking_id: Option<Uuid>,
    booking_version: Option<i32>,
    /// Entries of the ledger were told: from this number to `last_seq`.
    first_seq: Option<i64>,
    last_seq: Option<i64>,
    /// An alert was told: this one.
    alert_id: Option<Uuid>,
    /// A notice of an incident was told: this one.
    notice_id: Option<Uuid>,
    state: State,
    attempts: i32,
    /// None: no attempt is to come.
    next_at: Option<Timestamp>,
    /// What the last attempt was answered, by HTTP or by SMTP; none: nothing.
    status: Option<i32>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let is_pending = delivery.state == State::Pending;
        let (mut booking, mut entries, mut alert, mut notice) = (None, None, None, None);
        match delivery.of {
            Of::Booking(id, version) => booking = Some((id, version)),
            Of::Entries(first, last) => entries = Some((first, last)),
            Of::Alert(id) => alert = Some(id),
            Of::Notice(id) => notice = Some(id),
        }
        Self {
            id: delivery.id,
            version: delivery.version,
            created_at: delivery.created_at,
            updated_at: delivery.updated_at,
            webhook_id: delivery.webhook,
            member_id: delivery.member,
            booking_id: booking.map(|(booking, _)| booking),
            booking_version: booking.map(|(_, version)| version),
            first_seq: entries.map(|(first, _)| first),
            last_seq: entries.map(|(_, last)| last),
            alert_id: alert,
            notice_id: notice,
            state: delivery.state,
            attempts: delivery.attempts,
            next_at: is_pending.then_some(delivery.next_at),
            status: delivery.status,
        }
    }
}

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .route(
            "/v1/deliveries",
            get(list)
                .says("what was told, is to be told, and could not be told")
                .needs::<View, Delivery>(),
        )
        .route(
            "/v1/deliveries/{id}",
            get_one::<View, Delivery, DeliveryView>(|row, _| row.into()).says("a delivery"),
        )
        .route(
            "/v1/deliveries/{id}/replay",
            post(replay)
                .says("tells it again, as if it had never been tried")
                .needs::<Replay, Delivery>(),
        )
}

/// Which deliveries, in which order.
#[derive(Debug, Deserialize, Validate, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[garde(range(min = 1, max = Limits::PAGE_ROWS))]
    limit: Option<u32>,
    #[garde(dive)]
    cursor: Option<CursorText>,
    #[serde(default)]
    #[garde(skip)]
    sort: Sort<Delivery>,
    #[garde(skip)]
    webhook_id: Option<Id>,
    #[garde(skip)]
    state: Option<State>,
}

async fn list(
    tx: TenantTx,
    desk: Desk,
    Query(asked): Query<Asked>,
) -> Result<Answer<List<DeliveryView>>, Fault> {
    let webhook = asked.webhook_id.map(|Id(id)| id);
    let state = asked.state.map(State::as_str);
    let paging = Paging {
        limit: asked.limit,
        cursor: asked.cursor,
        sort: asked.sort,
    };
    let filters: [&(dyn ToSql + Sync); 2] = [&webhook, &state];
    page::list::<View, Delivery, _>(tx, &desk, paging, &filters, |row, _| row.into()).await
}

async fn replay(
    mut tx: TenantTx,
    desk: Desk,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
) -> Result<Answer<DeliveryView>, Fault> {
    let granted = tx.grant::<Replay, Delivery>(id).await?;
    expect_version(version, granted.version())?;
    // The word was given for one mail to each.
    if matches!(granted.row().of, Of::Notice(_)) && granted.row().state == State::Delivered {
        return Err(Fault::new(
            problems::CONFLICT,
            "a notice is told once; send another",
        ));
    }
    let now = desk.clock.now();
    let (state, attempts, status) = (State::Pending.as_str(), 0_i32, None::<i32>);
    let parameters: [&(dyn ToSql + Sync); 5] = [&now, &state, &attempts, &now, &status];
    let (spent, _row) = tx.change(granted, WRITE, &parameters).await?;
    let view = DeliveryView::from(tx.written::<Delivery>(Delivery::LOAD, id).await?);
    page::changed(tx, &spent, view).await
}
