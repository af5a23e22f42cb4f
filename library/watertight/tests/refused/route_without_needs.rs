//! A route that does not say what it is for.
use watertight::{
    answer::Answer,
    door::{Routes, post},
};
use watertight_tenancy::TenantTx;
use watertight_terms::{Entry, Fault};

async fn cancel(tx: TenantTx) -> Result<Answer, Fault> {
    let receipt = tx.finish(Entry::new("booking.cancel", "booking")).await?;
    Ok(Answer::no_content(receipt))
}

fn main() {
    let _ = Routes::new().route("/v1/bookings/{id}/cancel", post(cancel));
}
