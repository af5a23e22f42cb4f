//! A grant that nobody was asked for.
#[path = "parts/booking.rs"]
mod booking;
use watertight_authority::Granted;

fn main() {
    let _ = Granted::<booking::Cancel, booking::Booking> { row: booking::Booking };
}
