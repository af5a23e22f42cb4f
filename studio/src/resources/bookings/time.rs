//! An artist's time: locked, looked at, taken, given back, in this order.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;
use watertight_tenancy::{Consequence, Read, Row, SpentProof, TenantTx, ToSql};
use watertight_terms::{Fault, FieldFault, Kind};

pub(super) const DOUBLE: &str = "the artist is booked in that time";

/// The lock before every change of an artist's time. The row's own lock, so that it also says
/// whether the artist is there; FOR NO KEY UPDATE, so that foreign keys do not wait for it.
const LOCK_ARTIST: Read = Read::new(
    "SELECT id FROM studio.artists WHERE tenant_id = $1 AND id = $2 AND archived_at IS NULL FOR NO KEY UPDATE",
);

const LOCK_ANY_ARTIST: Read =
    Read::new("SELECT id FROM studio.artists WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE");

const CONFLICTS: Read = Read::new(
    "SELECT b.id, b.state, b.starts_at, b.ends_at FROM studio.occupancy o
     JOIN studio.bookings b ON b.tenant_id = o.tenant_id AND b.id = o.source_id
     WHERE o.tenant_id = $1 AND o.artist_id = $2 AND o.blocks AND o.source_id <> $3
       AND lower(o.slice) < $5 AND upper(o.slice) > $4
     ORDER BY b.starts_at, b.id LIMIT 20",
);

const TAKE: Consequence = Consequence::new(
    "INSERT INTO studio.occupancy (tenant_id, id, artist_id, slice, kind, source_id, blocks)
     VALUES ($1, $2, $3, tstzrange($4, $5, '[)'), 'booking', $6, true)",
);

const GIVE_BACK: Consequence = Consequence::new(
    "UPDATE studio.occupancy SET blocks = false, version = version + 1
     WHERE tenant_id = $1 AND source_id = $2 AND blocks",
);

/// A window of an artist's time, half-open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    pub(super) artist: Uuid,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
}

/// A window is at most two years long.
const LONGEST_S: i64 = 2 * 366 * 24 * 3600;

impl Window {
    /// Refuses a window that is empty, reversed or longer than two years.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let length_s = self.ends_at.as_second() - self.starts_at.as_second();
        let wrong = |detail: &str| {
            Err(Fault::new(
                Kind::Invalid,
                "invalid",
                "the window is not possible; see `errors`",
            )
            .fields(vec![FieldFault {
                pointer: "/ends_at".to_owned(),
                code: "window",
                detail: detail.to_owned(),
            }]))
        };
        if self.ends_at <= self.starts_at {
            return wrong("`ends_at` must be after `starts_at`");
        }
        if length_s > LONGEST_S {
            return wrong("a booking lasts at most two years");
        }
        Ok(())
    }
}

/// Locks an artist's time until the transaction ends.
///
/// # Errors
/// Invalid, when there is no such artist: absent and foreign ones are one answer.
pub(super) async fn lock(tx: &mut TenantTx, artist: Uuid) -> Result<(), Fault> {
    known(&tx.read(LOCK_ARTIST, &[&artist]).await?)
}

/// Locks the time of the artist whom a booking leaves, archived or not, and of the one to whom it
/// goes, in the order of their ids: two moves in opposite directions would otherwise wait for each
/// other.
///
/// # Errors
/// Invalid, when there is no artist to go to.
pub(super) async fn lock_move(tx: &mut TenantTx, from: Uuid, to: Uuid) -> Result<(), Fault> {
    let (first, second) = (from.min(to), from.max(to));
    tx.read(LOCK_ANY_ARTIST, &[&first]).await?;
    if first != second {
        tx.read(LOCK_ANY_ARTIST, &[&second]).await?;
    }
    if from == to {
        Ok(())
    } else {
        lock(tx, to).await
    }
}

/// Locks the window's artist and refuses when others than `booking` have the window; says who. One
/// round trip: the look is taken after the lock was had.
pub(super) async fn lock_free(
    tx: &mut TenantTx,
    window: Window,
    booking: Uuid,
) -> Result<(), Fault> {
    let artist: [&(dyn ToSql + Sync); 1] = [&window.artist];
    let asked: [&(dyn ToSql + Sync); 4] =
        [&window.artist, &booking, &window.starts_at, &window.ends_at];
    let answers = tx
        .reads(&[(LOCK_ARTIST, &artist), (CONFLICTS, &asked)])
        .await?;
    let [locked, conflicting] = answers.as_slice() else {
        return Err(Fault::bug("two reads without two answers"));
    };
    known(locked)?;
    free(conflicting)
}

/// Refuses when others than `booking` have the window, whose artist is locked already; says who.
pub(super) async fn expect_free(
    tx: &mut TenantTx,
    window: Window,
    booking: Uuid,
) -> Result<(), Fault> {
    let asked: [&(dyn ToSql + Sync); 4] =
        [&window.artist, &booking, &window.starts_at, &window.ends_at];
    free(&tx.read(CONFLICTS, &asked).await?)
}

fn known(locked: &[Row]) -> Result<(), Fault> {
    if !locked.is_empty() {
        return Ok(());
    }
    Err(Fault::new(
        Kind::Invalid,
        "invalid",
        "a field is not as it must be; see `errors`",
    )
    .fields(vec![FieldFault {
        pointer: "/artist_id".to_owned(),
        code: "unknown-reference",
        detail: "names no artist that you may book".to_owned(),
    }]))
}

fn free(conflicting: &[Row]) -> Result<(), Fault> {
    if conflicting.is_empty() {
        return Ok(());
    }
    let mut conflicts = Vec::new();
    for row in conflicting {
        conflicts.push(json!({
            "booking_id": row.field::<Uuid>("id")?,
            "state": row.field::<String>("state")?,
            "starts_at": row.field::<Timestamp>("starts_at")?,
            "ends_at": row.field::<Timestamp>("ends_at")?,
        }));
    }
    Err(Fault::new(Kind::Conflict, "double-booking", DOUBLE)
        .details(json!({ "conflicts": conflicts })))
}

/// Takes the window for a booking.
pub(super) async fn take(
    tx: &mut TenantTx,
    after: &impl SpentProof,
    row: Uuid,
    window: Window,
    booking: Uuid,
) -> Result<(), Fault> {
    tx.also(
        after,
        TAKE,
        &[
            &row,
            &window.artist,
            &window.starts_at,
            &window.ends_at,
            &booking,
        ],
    )
    .await
    .map(drop)
}

/// Gives back whatever the changed booking has.
pub(super) async fn give_back(tx: &mut TenantTx, after: &impl SpentProof) -> Result<(), Fault> {
    tx.also(after, GIVE_BACK, &[]).await.map(drop)
}
