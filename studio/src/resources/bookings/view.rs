//! Bookings as answered. A field that the caller may not see is absent.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;

use super::{
    Booking, SHOWN, State,
    actions::{Review, ViewRate},
    content::{BookingKind, Challenge, Rate},
    warnings::{Frame, Warning},
    when::{DayPart, Slice},
};

/// A booking as answered.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Booking")]
pub(crate) struct BookingView {
    id: Uuid,
    pub(super) version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    reference: String,
    artist_id: Uuid,
    project_id: Uuid,
    title: String,
    kind: BookingKind,
    state: State,
    rank: Option<i32>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    slices: Vec<Slice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<DayPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<DayPart>,
    expires_at: Option<Timestamp>,
    challenge: Option<Challenge>,
    /// Absent for whoever may not see it, `null` where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Option<Rate>>,
    notes: String,
    reason: Option<String>,
    payable: Option<bool>,
    ended_at: Option<Timestamp>,
    /// Absent for whoever may not see who changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<Option<String>>,
    archived_at: Option<Timestamp>,
    /// In answers to changes alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<Vec<Warning>>,
}

impl BookingView {
    /// A booking with what is worth knowing of it.
    pub(super) fn warned(booking: Booking, frame: &Frame, tx: &TenantTx) -> Self {
        let warnings = Some(frame.warnings(&booking.content.spell));
        Self {
            warnings,
            ..Self::of(booking, tx)
        }
    }

    pub(super) fn of(booking: Booking, tx: &TenantTx) -> Self {
        let sees_rate = tx.allows::<ViewRate, Booking>(&booking);
        let sees_history = tx.allows::<Review, Booking>(&booking);
        let content = booking.content;
        let (from, to) = content.spell.days.unzip();
        Self {
            id: booking.id,
            version: booking.version,
            created_at: booking.created_at,
            updated_at: booking.updated_at,
            reference: booking.reference,
            artist_id: content.artist,
            project_id: content.project,
            title: content.title,
            kind: content.kind,
            state: content.state,
            rank: booking.rank,
            starts_at: content.spell.starts_at,
            ends_at: content.spell.ends_at,
            slices: content.spell.slices(),
            from,
            to,
            expires_at: content.expires_at,
            challenge: content.challenge,
            rate: sees_rate.then_some(content.rate),
            notes: content.notes,
            reason: content.reason,
            payable: content.payable,
            ended_at: content.ended_at,
            ended_by: sees_history.then_some(content.ended_by),
            archived_at: content.archived_at,
            warnings: None,
        }
    }
}

/// A booking as it is now, with its rank, as answered.
pub(super) async fn load(tx: &mut TenantTx, id: Uuid) -> Result<BookingView, Fault> {
    let booking: Booking = tx.written(SHOWN, id).await?;
    Ok(BookingView::of(booking, tx))
}

/// A booking that was just changed, with what is worth knowing of it.
pub(super) async fn reload(tx: &mut TenantTx, id: Uuid) -> Result<BookingView, Fault> {
    let booking: Booking = tx.written(SHOWN, id).await?;
    let frame = Frame::of(tx, booking.content.project).await?;
    Ok(BookingView::warned(booking, &frame, tx))
}
