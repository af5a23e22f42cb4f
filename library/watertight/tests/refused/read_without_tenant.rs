//! A query over all studios.
use watertight_tenancy::Read;

const ALL: Read = Read::new("SELECT id FROM studio.bookings");

fn main() {
    let _ = ALL;
}
