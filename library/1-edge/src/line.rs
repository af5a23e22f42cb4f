use std::sync::Arc;

use tokio::sync::Notify;

/// The connection that a request came by, in the request's extensions: what it is answered is not to leave any more.
///
/// Nothing of HTTP/2 takes back what was handed to a connection whose other end lets nothing be sent, but that
/// the connection ends.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<Notify>);

impl Line {
    /// Takes no further request, and is cut off a little later ([`crate::ServeLimits::hang_up_ms`]), whatever is in flight.
    pub fn hang_up(&self) {
        self.0.notify_one();
    }

    /// Resolves when it is to end.
    pub(crate) async fn hung_up(&self) {
        self.0.notified().await;
    }
}
