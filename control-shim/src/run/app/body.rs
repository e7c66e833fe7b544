//! What a stand-in answers with: a short text, filler made on the fly, or the request's own body.

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A response body.
pub enum Answer {
    /// A text; `None` once it is sent.
    Text(Option<Bytes>),
    /// So many bytes of filler are still to come.
    Filler(u64),
    /// The request's body, sent back.
    Echo(Incoming),
}

/// Printable, so that it can be looked at.
static FILLER: [u8; 64 << 10] = [b'.'; 64 << 10];

impl Answer {
    /// A text.
    pub fn text(text: impl Into<Bytes>) -> Answer {
        Answer::Text(Some(text.into()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Answer::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Answer::Filler(0) => Poll::Ready(None),
            Answer::Filler(left) => {
                let block = usize::try_from(*left).map_or(FILLER.len(), |left| left.min(FILLER.len()));
                *left -= block as u64;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FILLER[..block])))))
            }
            Answer::Echo(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Text(text) => text.is_none(),
            Answer::Filler(left) => *left == 0,
            Answer::Echo(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Answer::Filler(left) => SizeHint::with_exact(*left),
            Answer::Echo(body) => body.size_hint(),
        }
    }
}
