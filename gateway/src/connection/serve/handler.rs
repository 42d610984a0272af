//! Around every handler: a request id, a time limit, and an answer when it panics.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use http::{HeaderValue, header};
use hyper::body::{Body as _, Incoming};

use super::Service;
use super::connection::Shared;
use crate::connection::body::Body;
use crate::connection::limits::duration;
use crate::connection::{Peer, REQUEST_ID, has_answer_body, request_id};
use crate::response::refusal::{Reason, Refusal};

/// The answer to one request, whatever its handler does.
pub(super) async fn answer<S: Service>(
    shared: &Shared<S>,
    mut request: http::Request<Incoming>,
    peer: Arc<Peer>,
) -> http::Response<Body> {
    let id = request_id(request.headers(), &*shared.clock);
    // The id has the form of a header value: the caller's was checked, a UUID is one.
    let id = HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let with_body = has_answer_body(request.method());

    // The handler reads the body, so its time counts too.
    let limit = duration(shared.limits.handler_ms.saturating_add(shared.limits.body_read_ms));
    let work = tokio::time::timeout(limit, caught(|| shared.service.call(request, peer)));
    let mut response = match work.await {
        Ok(Some(response)) => response,
        Ok(None) => refused(Reason::Internal),
        Err(_) => {
            tracing::warn!(request_id = ?id, "a handler passed its time limit");
            refused(Reason::Timeout)
        }
    };
    response.headers_mut().entry(REQUEST_ID).or_insert(id);
    if with_body { response } else { without_body(response) }
}

/// Runs a handler to its end; `None` when it panicked. The panic's text goes to the panic hook, never to the client.
async fn caught<A, F>(call: F) -> Option<A::Output>
where
    F: FnOnce() -> A,
    A: Future,
{
    // What a panic leaves half-done is either owned by the future, which is dropped, or guarded by the store's
    // transactions, which are undone.
    // On the heap: a handler's state is large, and would be moved with every future around it.
    let mut future = Box::pin(catch_unwind(AssertUnwindSafe(call)).ok()?);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}

fn refused(reason: Reason) -> http::Response<Body> {
    let mut response = http::Response::new(Body::full(Refusal::new(reason, "").to_outcome()));
    *response.status_mut() = reason.row().status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/fhir+json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same answer as for `GET`, its body left away and its length kept (RFC 9110 section 9.3.2).
fn without_body(mut response: http::Response<Body>) -> http::Response<Body> {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
    response
}
