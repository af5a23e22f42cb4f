//! What a project's bookings cost, beside its budget.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight::{
    answer::{Answer, Draft},
    argument::Path,
};
use watertight_tenancy::{Read, Row, TenantTx};
use watertight_terms::{Entry, Fault};

use super::{Project, actions::SumCosts};
use crate::resources::money::Money;

/// The costs of a project's bookings by their currency. `$2` the project, `$3` the studio's zone.
///
/// A day counts once, a half of one half; hours as long as they are. What is cancelled and paid all the same counts, what
/// was given up does not. Sums end where numbers of JSON do.
const COSTS: Read = Read::new(
    "SELECT coalesce(currency, '') AS currency, count(*) FILTER (WHERE currency IS NULL)::integer AS unrated,
       least(coalesce(sum(cost) FILTER (WHERE is_committed), 0), 9007199254740991)::bigint AS committed,
       least(coalesce(sum(cost) FILTER (WHERE NOT is_committed), 0), 9007199254740991)::bigint AS expected,
       least(coalesce(sum(cost) FILTER (WHERE kind = 'travel'), 0), 9007199254740991)::bigint AS travel
     FROM (SELECT b.rate_currency AS currency, b.kind, b.state NOT IN ('hold', 'pencil') AS is_committed,
         round(b.rate_minor * CASE b.rate_unit WHEN 'hour' THEN taken.hours WHEN 'day' THEN taken.days ELSE taken.days * 2 END) AS cost
       FROM studio.bookings b CROSS JOIN LATERAL (
         SELECT (SELECT sum(extract(epoch FROM e - s)) / 3600 FROM unnest(b.slice_starts, b.slice_ends) h (s, e)) AS hours,
           CASE WHEN b.from_day IS NULL THEN (SELECT count(DISTINCT day) FROM unnest(b.slice_starts, b.slice_ends) d (s, e),
               generate_series((s AT TIME ZONE $3)::date, ((e - interval '1 microsecond') AT TIME ZONE $3)::date, interval '1 day') day)
             ELSE b.to_day - b.from_day + 1 - CASE b.from_part WHEN 'pm' THEN 0.5 ELSE 0 END
               - CASE b.to_part WHEN 'am' THEN 0.5 ELSE 0 END END AS days) taken
       WHERE b.tenant_id = $1 AND b.project_id = $2 AND b.archived_at IS NULL AND b.state <> 'released'
         AND (b.state <> 'cancelled' OR b.payable)) costs
     GROUP BY currency ORDER BY currency",
);

/// What a project's bookings cost.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Costs")]
pub(super) struct CostsView {
    budget: Option<Money>,
    /// What is left of the budget when what is committed is paid, in its currency; less than nothing when it is over.
    left_minor: Option<i64>,
    /// Bookings without a rate: nothing of them is counted.
    unrated: i32,
    items: Vec<CostView>,
}

/// Costs in one currency, in its smallest unit.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Cost")]
struct CostView {
    currency: String,
    /// Confirmed and later, and what is paid although it was cancelled.
    committed_minor: i64,
    /// Holds and options.
    expected_minor: i64,
    /// Which part of both is travel.
    travel_minor: i64,
}

impl CostView {
    fn from_row(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            currency: row.field("currency")?,
            committed_minor: row.field("committed")?,
            expected_minor: row.field("expected")?,
            travel_minor: row.field("travel")?,
        })
    }
}

pub(super) async fn show(
    mut tx: TenantTx,
    Path(id): Path<Uuid>,
) -> Result<Answer<CostsView>, Fault> {
    let granted = tx.grant::<SumCosts, Project>(id).await?;
    let budget = tx.seen(granted)?.budget;
    let zone = tx.studio().1.to_owned();
    let rows = tx.read(COSTS, &[&id, &zone]).await?;
    let mut unrated = 0;
    for row in &rows {
        unrated += row.field::<i32>("unrated")?;
    }
    let items = rows
        .iter()
        .map(CostView::from_row)
        .collect::<Result<Vec<_>, _>>()?;
    let items: Vec<CostView> = items
        .into_iter()
        .filter(|cost| !cost.currency.is_empty())
        .collect();
    let left_minor = budget.as_ref().map(|budget| {
        let same = items.iter().find(|cost| cost.currency == budget.currency);
        budget.minor - same.map_or(0, |cost| cost.committed_minor)
    });
    let view = CostsView {
        budget,
        left_minor,
        unrated,
        items,
    };
    let entry = Entry::new("project.sum_costs", "project").ids([id]);
    Draft::ok(view)?.finish(tx, entry).await
}
