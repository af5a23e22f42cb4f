//! A handler that answers without having ended its transaction.
use watertight::answer::Answer;
use watertight_tenancy::TenantTx;
use watertight_terms::Fault;

async fn show(_tx: TenantTx) -> Result<Answer, Fault> {
    Answer::ok("everything")
}

fn main() {}
