//! A route whose answer has no schema, so that no document could tell of it.
use watertight::{
    answer::{Answer, Draft},
    door::get,
};
use watertight_tenancy::TenantTx;
use watertight_terms::{Entry, Fault};

#[derive(serde::Serialize)]
struct Unknown {}

async fn show(tx: TenantTx) -> Result<Answer<Unknown>, Fault> {
    Draft::ok(Unknown {})?
        .finish(tx, Entry::new("booking.view", "booking"))
        .await
}

fn main() {
    let _ = get(show);
}
