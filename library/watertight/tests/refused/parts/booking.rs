use uuid::Uuid;
use watertight_authority::{Action, Fact, Resource};
use watertight_tenancy::{Change, Read, Row, Stored};
use watertight_terms::{Fault, TenantId};

pub struct Booking;

impl Resource for Booking {
    const NOUN: &'static str = "booking";
    const ENTITY: &'static str = "Booking";
    fn id(&self) -> Uuid {
        Uuid::nil()
    }
    fn tenant(&self) -> TenantId {
        TenantId(Uuid::nil())
    }
    fn version(&self) -> i32 {
        1
    }
    fn facts(&self) -> Vec<(&'static str, Fact)> {
        Vec::new()
    }
}

impl Stored for Booking {
    const LOAD: Read = Read::new("SELECT id FROM studio.bookings WHERE tenant_id = $1 AND id = $2");
    fn from_row(_: &Row) -> Result<Self, Fault> {
        Ok(Self)
    }
}

pub struct View;
impl Action<Booking> for View {
    const NAME: &'static str = "booking.view";
}

pub struct Cancel;
impl Action<Booking> for Cancel {
    const NAME: &'static str = "booking.cancel";
}

pub const CANCEL: Change = Change::new(
    "UPDATE studio.bookings SET state = 'cancelled', version = version + 1
     WHERE tenant_id = $1 AND id = $2 AND version = $3 RETURNING version",
);
