//! Owns the body of an answer on its way out: hands it to the parser in small pieces, and counts
//! each until the transport has taken it. What the handler made (and the permit that it may hold)
//! lives as long as its last piece.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body as AnyBody, Bytes};
use hyper::body::{Body, Buf, Frame, SizeHint};

use super::link::Ticket;

/// The largest piece; also what a client has to take within the limit of time.
pub(super) const PIECE_BYTES: usize = 16 * 1024;

pub(in super::super) struct Answer {
    /// Given to the last piece.
    body: Option<AnyBody>,
    /// Of the last frame, not handed out yet.
    rest: Bytes,
    /// Given to the last piece.
    ticket: Option<Ticket>,
}

impl Answer {
    pub(super) fn new(body: AnyBody, ticket: Ticket) -> Self {
        ticket.hold(held_bytes(&body));
        Self { body: Some(body), rest: Bytes::new(), ticket: Some(ticket) }
    }

    fn next_piece(&mut self) -> Piece {
        let data = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let last = self.is_end_stream();
        let (ticket, body) =
            if last { (self.ticket.take(), self.body.take()) } else { (self.ticket.clone(), None) };
        ticket.as_ref().inspect(|ticket| ticket.piece_out());
        Piece { data, ticket, body }
    }
}

/// What an answer holds in memory at least.
pub(super) fn held_bytes(body: &AnyBody) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

impl Body for Answer {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            let Some(body) = this.body.as_mut() else { return Poll::Ready(None) };
            match ready!(Pin::new(body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.ticket.as_ref().inspect(|ticket| ticket.hold(data.len()));
                        this.rest = data;
                    }
                    Err(frame) => {
                        let Ok(trailers) = frame.into_trailers() else { continue };
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                },
            }
        }
        Poll::Ready(Some(Ok(Frame::data(this.next_piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A part of an answer, until the transport has taken it.
pub(in super::super) struct Piece {
    data: Bytes,
    ticket: Option<Ticket>,
    /// With the last one.
    body: Option<AnyBody>,
}

impl Piece {
    fn end(&mut self) {
        self.body = None;
        if let Some(ticket) = self.ticket.take() {
            ticket.piece_gone();
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.data.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.data
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        if self.data.is_empty() {
            self.data = Bytes::new();
            self.end();
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.end();
    }
}
