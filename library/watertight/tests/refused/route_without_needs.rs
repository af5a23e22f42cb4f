//! A route that does not say what it is for.
use watertight::{
    answer::{Answer, Draft, Nothing},
    door::{Routes, post},
};
use watertight_tenancy::TenantTx;
use watertight_terms::{Entry, Fault};

async fn cancel(tx: TenantTx) -> Result<Answer<Nothing>, Fault> {
    Draft::no_content()
        .commit(tx, Entry::new("booking.cancel", "booking"))
        .await
}

fn main() {
    let _ = Routes::new().route("/v1/bookings/{id}/cancel", post(cancel));
}
