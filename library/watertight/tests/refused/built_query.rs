//! SQL made of strings at run time.
use watertight_tenancy::{Read, TenantTx};

async fn search(tx: &mut TenantTx, name: String) {
    let sql = format!("SELECT id FROM studio.artists WHERE tenant_id = $1 AND name = '{name}'");
    let _ = tx.read(Read::new(&sql), &[]).await;
}

fn main() {}
