//! One right, two changes.
#[path = "parts/booking.rs"]
mod booking;
use booking::{Booking, CANCEL, Cancel};
use watertight_tenancy::TenantTx;

async fn handler(mut tx: TenantTx, id: uuid::Uuid) {
    let granted = tx.grant::<Cancel, Booking>(id).await.unwrap();
    let _ = tx.change(granted, CANCEL, &[]).await;
    let _ = tx.change(granted, CANCEL, &[]).await;
}

fn main() {}
