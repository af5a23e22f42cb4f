//! A handler that answers without having ended its transaction.
use watertight::answer::{Answer, Draft};
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;

async fn show(_tx: TenantTx) -> Result<Answer<String>, Fault> {
    Draft::ok("everything".to_owned())
}

fn main() {}
