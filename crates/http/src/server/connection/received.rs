//! Owns the body of a request on its way to a handler: notes its end, and what is to be done when
//! no handler read it. An HTTP/1 connection can be kept only when nothing of the body is left on it
//! (RFC 9112, 9.3 and 9.6).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body as AnyBody, Bytes};
use futures_util::future::poll_fn;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::link::Ticket;

pub(super) struct ReceivedBody {
    /// Taken when the body is dropped unread.
    body: Option<Incoming>,
    ticket: Ticket,
    /// What is left unread goes back to the connection.
    returns: bool,
}

impl ReceivedBody {
    pub(super) fn wrap(body: Incoming, ticket: &Ticket, returns: bool) -> AnyBody {
        if body.is_end_stream() {
            return AnyBody::empty();
        }
        AnyBody::new(Self { body: Some(body), ticket: ticket.clone(), returns })
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(body) = this.body.as_mut() else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(&mut *body).poll_frame(cx));
        match &frame {
            Some(Err(_)) => this.body = None,
            Some(Ok(_)) if !body.is_end_stream() => {}
            _ => {
                this.body = None;
                this.ticket.received();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for ReceivedBody {
    fn drop(&mut self) {
        if let (Some(body), true) = (self.body.take(), self.returns) {
            self.ticket.link().leave_body(body);
        }
    }
}

/// Reads what a handler left of a body, if it is little and comes soon. Says whether the body has
/// ended.
pub(super) async fn read_rest(ticket: &Ticket, most_bytes: usize, within: Duration) -> bool {
    if !ticket.is_receiving() {
        return true;
    }
    let Some(mut body) = ticket.link().take_left() else { return false };
    if body.size_hint().lower() > most_bytes as u64 {
        return false;
    }
    let reading = async {
        let mut read = 0;
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(frame) = frame else { return false };
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > most_bytes {
                return false;
            }
        }
        // One in chunks never says so beforehand.
        true
    };
    let ended = tokio::time::timeout(within, reading).await.unwrap_or(false);
    if ended {
        ticket.received();
    }
    ended
}
