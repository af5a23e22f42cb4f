//! The right to view, used to cancel.
#[path = "parts/booking.rs"]
mod booking;
use booking::{Booking, CANCEL, Cancel, View};
use watertight_authority::Granted;
use watertight_tenancy::TenantTx;

async fn cancel(tx: &mut TenantTx, granted: Granted<Cancel, Booking>) {
    let _ = tx.change(granted, CANCEL, &[]).await;
}

async fn handler(mut tx: TenantTx, id: uuid::Uuid) {
    let granted = tx.grant::<View, Booking>(id).await.unwrap();
    cancel(&mut tx, granted).await;
}

fn main() {}
