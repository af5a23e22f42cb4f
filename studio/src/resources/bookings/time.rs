//! An artist's time: locked, then looked at, then taken, in this order. What is taken stands in
//! `studio.occupancy`, where the triggers of bookings and time off put it.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;
use watertight_tenancy::{Read, Row, TenantTx, ToSql};
use watertight_terms::{Fault, FieldFault, problems};

use super::when::Spell;

pub(super) const DOUBLE: &str = "the artist is booked in that time";

/// The lock before every change of an artist's time. The row's own lock, so that it also says
/// whether the artist is there; FOR NO KEY UPDATE, so that foreign keys do not wait for it.
pub(super) const LOCK_ARTIST: Read = Read::new(
    "SELECT id FROM studio.artists WHERE tenant_id = $1 AND id = $2 AND archived_at IS NULL FOR NO KEY UPDATE",
);

/// The same of an artist who may have been archived.
const LOCK_ANY_ARTIST: Read =
    Read::new("SELECT id FROM studio.artists WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE");

/// Whether a project is there to be booked for.
pub(super) const PROJECT: Read = Read::new(
    "SELECT id FROM studio.projects WHERE tenant_id = $1 AND id = $2 AND archived_at IS NULL",
);

/// What stands against taking time: whatever blocks, and options older than `$4`. `$2` the artist, `$3`
/// the booking itself, `$5` and `$6` its slices, `$7` and `$8` the first and last of them.
const AGAINST: Read = Read::new(
    "SELECT o.source_id, o.kind, o.state, o.blocks, o.starts_at, o.ends_at FROM studio.occupancy o
     WHERE o.tenant_id = $1 AND o.artist_id = $2 AND o.source_id <> $3
       AND o.starts_at < $8 AND o.starts_at > $7::timestamptz - interval '732 days' AND o.ends_at > $7
       AND (o.blocks OR o.state = 'pencil' AND (o.since, o.source_id) < ($4::timestamptz, $3))
       AND EXISTS (SELECT FROM unnest($5::timestamptz[], $6::timestamptz[]) own (s, e) WHERE o.starts_at < own.e AND o.ends_at > own.s)
     ORDER BY o.blocks DESC, o.starts_at, o.source_id LIMIT 20",
);

/// Locks an artist's time until the transaction ends, archived or not.
pub(crate) async fn lock(tx: &mut TenantTx, artist: Uuid) -> Result<(), Fault> {
    tx.read(LOCK_ANY_ARTIST, &[&artist]).await.map(drop)
}

/// Locks the time of the artist whom something leaves, archived or not, and of the one to whom it
/// goes, in the order of their ids: two moves in opposite directions would otherwise wait for each
/// other.
///
/// # Errors
/// Invalid, when there is no artist to go to: absent and foreign ones are one answer.
pub(crate) async fn lock_move(tx: &mut TenantTx, from: Uuid, to: Uuid) -> Result<(), Fault> {
    let (first, second) = (from.min(to), from.max(to));
    lock(tx, first).await?;
    if first == second {
        return Ok(());
    }
    lock(tx, second).await?;
    known(&tx.read(LOCK_ARTIST, &[&to]).await?, "artist")
}

/// Locks the time of an artist for something new.
///
/// # Errors
/// Invalid, when there is no such artist: absent and foreign ones are one answer.
pub(crate) async fn lock_new(tx: &mut TenantTx, artist: Uuid) -> Result<(), Fault> {
    known(&tx.read(LOCK_ARTIST, &[&artist]).await?, "artist")
}

/// Refuses when a reference's row was not found.
pub(super) fn known(rows: &[Row], noun: &'static str) -> Result<(), Fault> {
    if !rows.is_empty() {
        return Ok(());
    }
    let spoken = "a field is not as it must be; see `errors`";
    Err(
        Fault::new(problems::INVALID, spoken).fields(vec![FieldFault {
            pointer: format!("/{noun}_id"),
            code: "unknown-reference",
            detail: format!("names no {noun} that you may book"),
        }]),
    )
}

/// Which options are before something that takes time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Before {
    /// Every one: it is new.
    AnyOption,
    /// The older ones.
    OptionsOlderThan(Timestamp),
    /// None: an absence asks nobody.
    NoOption,
}

impl Before {
    fn since(self) -> Timestamp {
        match self {
            Self::AnyOption => Timestamp::MAX,
            Self::OptionsOlderThan(since) => since,
            Self::NoOption => Timestamp::UNIX_EPOCH,
        }
    }
}

/// Something that takes time of an artist, whose lock is had already.
#[derive(Debug)]
pub(crate) struct Taking {
    pub(crate) artist: Uuid,
    pub(crate) spell: Spell,
    pub(crate) own: Uuid,
    pub(crate) before: Before,
}

/// So many are asked about in one round trip.
const ASKED_AT_ONCE: usize = 200;

/// What stands against each of them, if anything does.
pub(super) async fn refusals(
    tx: &mut TenantTx,
    takings: &[Taking],
) -> Result<Vec<Option<Fault>>, Fault> {
    let mut refused = Vec::with_capacity(takings.len());
    for some in takings.chunks(ASKED_AT_ONCE) {
        let since: Vec<Timestamp> = some.iter().map(|taking| taking.before.since()).collect();
        let asked: Vec<[&(dyn ToSql + Sync); 7]> = some
            .iter()
            .zip(&since)
            .map(|(taking, since)| against(&taking.artist, &taking.own, since, &taking.spell))
            .collect();
        let reads: Vec<_> = asked
            .iter()
            .map(|asked| (AGAINST, asked.as_slice()))
            .collect();
        for (rows, taking) in tx.reads(&reads).await?.iter().zip(some) {
            refused.push(refusal(rows, taking.own, taking.before)?);
        }
    }
    Ok(refused)
}

/// The parameters of [`AGAINST`].
fn against<'a>(
    artist: &'a Uuid,
    own: &'a Uuid,
    since: &'a Timestamp,
    spell: &'a Spell,
) -> [&'a (dyn ToSql + Sync); 7] {
    [
        artist,
        own,
        since,
        &spell.starts,
        &spell.ends,
        &spell.starts_at,
        &spell.ends_at,
    ]
}

/// Refuses when something stands against `own` taking that time of the artist, whose lock is had
/// already. Says what it is, and offers the challenge where that would help.
///
/// # Errors
/// Conflict: `double-booking` where the time is taken, `earlier-option` where others were first.
pub(crate) async fn expect_room(
    tx: &mut TenantTx,
    artist: Uuid,
    spell: &Spell,
    own: Uuid,
    before: Before,
) -> Result<(), Fault> {
    let since = before.since();
    let rows = tx
        .read(AGAINST, &against(&artist, &own, &since, spell))
        .await?;
    match refusal(&rows, own, before)? {
        None => Ok(()),
        Some(fault) => Err(fault),
    }
}

/// What is told of what stands against `own`, if anything does.
fn refusal(against: &[Row], own: Uuid, before: Before) -> Result<Option<Fault>, Fault> {
    let Some(first) = against.first() else {
        return Ok(None);
    };
    let conflicts = against
        .iter()
        .map(conflict)
        .collect::<Result<Vec<_>, _>>()?;
    if first.field("blocks")? {
        let details = json!({ "conflicts": conflicts });
        let fault = Fault::new(crate::problems::DOUBLE_BOOKING, DOUBLE);
        return Ok(Some(fault.details(details)));
    }
    let (spoken, details) = match before {
        Before::OptionsOlderThan(_) => (
            "options were there first; challenge the first of them, or wait until they are released",
            json!({ "conflicts": conflicts, "challenge": format!("/v1/bookings/{own}/challenge") }),
        ),
        Before::AnyOption | Before::NoOption => (
            "there are options in that time; make this a pencil and challenge the first of them",
            json!({ "conflicts": conflicts }),
        ),
    };
    let fault = Fault::new(crate::problems::EARLIER_OPTION, spoken);
    Ok(Some(fault.details(details)))
}

fn conflict(row: &Row) -> Result<Value, Fault> {
    let mut conflict = json!({
        "state": row.field::<String>("state")?,
        "starts_at": row.field::<Timestamp>("starts_at")?,
        "ends_at": row.field::<Timestamp>("ends_at")?,
    });
    if row.field::<String>("kind")? == "booking"
        && let Some(members) = conflict.as_object_mut()
    {
        let id: Uuid = row.field("source_id")?;
        members.insert("booking_id".to_owned(), json!(id));
    }
    Ok(conflict)
}
