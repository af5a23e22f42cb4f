use std::{
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll},
};

use axum::{Error, body::Body, response::Response};
use bytes::Bytes;
use hyper::body::{Body as Frames, Frame, SizeHint};
use watertight_edge::Line;
use watertight_tenancy::Account;
use watertight_terms::TenantId;

/// The answer to somebody whom the studio knows, which leaves by that line. It is under way until all of it has left. Its first part is waited
/// for; one that goes on is cut off when the studio, or whoever it is for, is isolated meanwhile.
pub(super) fn leaving(
    mut response: Response,
    known: &OnceLock<Account>,
    line: Option<Line>,
) -> Response {
    let Some(account) = known.get().cloned() else {
        return response;
    };
    let cut = Box::pin(account.flight().cut());
    if let Some(line) = line {
        account.flight().leaves_by(move || line.hang_up());
    }
    response.extensions_mut().insert(Whose(account.tenant()));
    response.map(|body| {
        Body::new(Leaving {
            body,
            cut,
            has_begun: false,
            account,
        })
    })
}

/// In an answer's extensions: whose it is, for whoever measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose(pub TenantId);

struct Leaving {
    body: Body,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    has_begun: bool,
    /// Whose flight ends when this is dropped.
    account: Account,
}

struct Held {
    part: Bytes,
    _account: Account,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.part
    }
}

impl Frames for Leaving {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.has_begun && self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(self.isolated())));
        }
        let part = Pin::new(&mut self.body).poll_frame(cx);
        if part.is_ready() {
            self.has_begun = true;
        } else if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(self.isolated())));
        }
        part.map_ok(|frame| frame.map_data(|part| self.held(part)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Leaving {
    /// A part that is under way until the connection has written it: a client that takes nothing yet, as HTTP/2
    /// allows, could read it afterwards.
    fn held(&self, part: Bytes) -> Bytes {
        let account = self.account.clone();
        Bytes::from_owner(Held {
            part,
            _account: account,
        })
    }

    fn isolated(&self) -> Error {
        Error::new(format!("{} was isolated", self.account.tenant()))
    }
}
