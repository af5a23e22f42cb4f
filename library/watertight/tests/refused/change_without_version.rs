//! A change of whatever the row is by now.
use watertight_tenancy::Change;

const CANCEL: Change = Change::new(
    "UPDATE studio.bookings SET state = 'cancelled', version = version + 1
     WHERE tenant_id = $1 AND id = $2 RETURNING version",
);

fn main() {
    let _ = CANCEL;
}
