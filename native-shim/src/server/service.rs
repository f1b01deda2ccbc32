//! One request of a client's connection, from hyper to the exchange and back.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tidegate_core::problem::Refusal;
use tidegate_core::{Client, exchange};

use super::held::Held;
use super::messages::Content;
use super::registry::Registered;
use super::tunnel;
use crate::body::Body;
use crate::drive;
use crate::node::Node;
use crate::random;
use crate::request_body::RequestBody;
use crate::upstream::{Connections, OriginBody};

type Reply = Body<OriginBody>;

/// What a thread's connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: Arc<Node>,
    pub(super) upstream: Connections,
}

/// Answers the requests of one connection.
#[derive(Debug, Clone)]
pub(super) struct Exchanges {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Arc<Registered>,
}

impl hyper::service::Service<Request<Incoming>> for Exchanges {
    type Response = Response<Held>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let busy = self.place.activity.busy();
        let Shared { node, upstream, .. } = &*self.shared;
        let (mut head, body) = request.into_parts();
        let takes_interim = head.version == Version::HTTP_11;
        let client_upgrade = if head.extensions.is_empty() {
            None
        } else {
            head.extensions.remove::<OnUpgrade>()
        };
        let body = RequestBody::new(body);
        let client = Client {
            peer: self.place.activity.peer,
            geo: None,
            tls_subject: None,
            scheme: self.place.activity.scheme,
            body: body.announced(),
            fresh_trace: random::fresh_trace(),
        };
        let activity = &self.place.activity;
        if client.body != tidegate_core::RequestBody::Empty {
            body.hold_to(activity.rate_min());
        }
        activity.set_content(match client.body {
            tidegate_core::RequestBody::Empty => Content::Sized(0),
            tidegate_core::RequestBody::Sized(bytes) => Content::Sized(bytes),
            tidegate_core::RequestBody::Streamed => Content::Chunked,
        });
        let refusal = if busy.is_one_too_many() {
            Some(Refusal::TooManyUnderWay)
        } else {
            activity.has_fragment().then_some(Refusal::Malformed)
        };
        if let Some(refusal) = refusal {
            self.note_unread(&body);
            let reply = exchange::refuse_unread(refusal, &client, node.now());
            return Answer::Ready(Some(Held::hold(drive::refused(node, reply), busy)));
        }
        let now = node.now();
        let step = node.begin(head, client, now);
        match drive::begin(node, upstream, step, now) {
            Ok(response) => {
                self.note_unread(&body);
                Answer::Ready(Some(Held::hold(response, busy)))
            }
            Err(drive) => {
                let this = self.clone();
                Answer::Driving(Box::pin(async move {
                    let Shared { node, upstream } = &*this.shared;
                    // Work that goes on without its client counts as the client's: it keeps the
                    // client's seat.
                    let client = (busy, Arc::clone(&this.place.seat));
                    let interim = &this.place.activity.interim;
                    let with_interim =
                        takes_interim.then(|| upstream.with_interim(Arc::clone(interim)));
                    let upstream = with_interim.as_ref().unwrap_or(upstream);
                    let answer = pin!(drive.run_to_the_end(node, upstream, body.clone(), client));
                    let (response, (busy, _)) = if takes_interim {
                        interim.until_answered(answer).await
                    } else {
                        answer.await
                    };
                    this.note_unread(&body);
                    Held::hold(this.switch(response, client_upgrade), busy)
                }))
            }
        }
    }
}

impl Exchanges {
    /// The client may still be sending what nobody reads.
    fn note_unread(&self, body: &RequestBody<Incoming>) {
        if !body.is_spent() {
            self.place.activity.linger();
        }
    }

    /// Hands both connections over when the origin has switched protocols.
    fn switch(&self, mut response: Response<Reply>, client: Option<OnUpgrade>) -> Response<Reply> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        let origin = response.extensions_mut().remove::<OnUpgrade>();
        if let Some((client, origin)) = client.zip(origin) {
            tunnel::open(client, origin, Arc::clone(&self.place));
        }
        response.map(|_| Body::default())
    }
}

/// The reply, at hand or on its way.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the common one, and lives for one look"
)]
pub(super) enum Answer {
    Ready(Option<Response<Held>>),
    Driving(Pin<Box<dyn Future<Output = Response<Held>> + Send>>),
}

impl Future for Answer {
    type Output = Result<Response<Held>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(response) => response
                .take()
                .map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
            Self::Driving(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}
