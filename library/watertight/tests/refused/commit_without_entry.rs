//! A handler that forgets its entry.
use watertight_tenancy::{Receipt, TenantTx};
use watertight_terms::Fault;

async fn cancel(tx: TenantTx) -> Result<Receipt, Fault> {
    tx.commit().await
}

fn main() {}
