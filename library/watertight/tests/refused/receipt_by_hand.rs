//! A receipt that nobody gave.
use watertight_tenancy::Receipt;

fn main() {
    let _ = Receipt(());
}
