//! Removing what is old, so that the rest can still be verified.
//!
//! ```text
//! removable       how many entries from the first on are all older: whole tiles
//! walk            edge and chain where they end; then on to the head, which must be the known one
//! stub, outside   signed, and written outside the database first
//! remove, COMMIT  the entries are gone and the stub is there, or neither
//! ```
//!
//! Killed after the stub was written outside, before the entries are gone, it has told what the next
//! run does: a verifier begins after the stub either way.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;
use watertight_tenancy::{GateCall, Row};
use watertight_terms::{Fault, TenantId};

use crate::{
    checkpointer::{Checkpointer, unwritable, unwritten},
    note,
};

const REMOVABLE: GateCall = GateCall::new("SELECT ledger.removable($1) AS size", "l5");
const REMOVE: GateCall = GateCall::new("SELECT ledger.remove($1, $2)", "l6");

impl Checkpointer {
    /// How many entries of a studio [`Checkpointer::remove_before`] would remove now.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn removable(&self, tenant: TenantId, before: Timestamp) -> Result<u64, Fault> {
        let fields = [tenant.to_string(), before.as_microsecond().to_string()];
        let fields = fields.each_ref().map(String::as_str);
        let size = removable(&self.tenancy.ask_gate(REMOVABLE, &fields).await?)?;
        let known = self.known_head(tenant).await?;
        Ok(known.map_or(0, |(_, first)| size.saturating_sub(first.edge.size())))
    }

    /// Removes the entries of a studio that are older than `before`: whole tiles from the first on, and
    /// never the newest. Leaves a signed stub, with which the rest is verified as before. Gives how many
    /// entries are gone in all; an entry of the studio says so.
    ///
    /// # Errors
    /// When the log is not what was signed: nothing is removed then, for what is wrong with it would be
    /// gone too. When the database or the folder cannot be written.
    pub async fn remove_before(&self, tenant: TenantId, before: Timestamp) -> Result<u64, Fault> {
        let bound_us = before.as_microsecond().to_string();
        let fields = [tenant.to_string(), bound_us];
        let fields = fields.each_ref().map(String::as_str);
        let size = removable(&self.tenancy.ask_gate(REMOVABLE, &fields).await?)?;
        let Some((head, mut place)) = self.known_head(tenant).await? else {
            return Ok(0);
        };
        if size <= place.edge.size() {
            return Ok(place.edge.size());
        }
        let mut wrong = self.walk(tenant, &mut place, size, None).await?;
        let mut rest = place.clone();
        if wrong.is_none() {
            wrong = self.walk(tenant, &mut rest, head.edge.size(), None).await?;
        }
        if wrong.is_some() || rest.edge != head.edge || !self.follow(tenant).await? {
            return Err(Fault::bug(format!(
                "the log of {tenant} is not what was signed: nothing is removed; run `studio audit verify`"
            )));
        }
        let day = before.to_zoned(TimeZone::UTC).date();
        let note = note::sign_stub(&(self.keys)(), tenant, &place.edge, &place.chain, day)?;
        if let Some(outside) = &self.outside {
            outside.write_removed(tenant, &note).map_err(unwritable)?;
        }
        let removal = json!({ "tenant": tenant, "size": size, "before": day, "note": note });
        let removal = serde_json::to_string(&removal).map_err(unwritten)?;
        let remove = |rows: Vec<Row>| match removable(&rows)? >= size {
            true => Ok((Some(removal), size)),
            false => Err(Fault::bug("what could be removed became younger")),
        };
        let ask = (REMOVABLE, &fields[..]);
        self.tenancy.ask_and_tell(ask, REMOVE, remove).await
    }
}

fn removable(rows: &[Row]) -> Result<u64, Fault> {
    let row = rows
        .first()
        .ok_or_else(|| Fault::bug("nothing was said of a log"))?;
    Ok(row.field::<i64>("size")?.unsigned_abs())
}
