//! One request on an HTTP/2 connection to a backend.

use std::error::Error as _;

use http::header::HOST;
use http::response::Parts;
use http::uri::{Authority, Scheme};
use http::{Request, Uri};

use super::answer::Source;
use super::body::RequestBody;
use super::http1::Failed;
use super::http1::decode::{FIELDS, Invalid};
use super::pool::Stream;

/// Sends `request` and waits for the header of its answer. `reused`: the connection served before, so that the backend may
/// have closed it meanwhile. After a failure that allows it, `request` is there to be sent again.
pub async fn ask(
    stream: Stream,
    request: &mut Request<RequestBody>,
    reused: bool,
) -> Result<(Parts, Source), Failed> {
    let once = !request.method().is_idempotent();
    let copy = copy(request);
    let mut sent = std::mem::replace(request, Request::new(RequestBody::Empty));
    address(&mut sent);
    match stream.sender().try_send_request(sent).await {
        Ok(answer) => {
            let (parts, incoming) = answer.into_parts();
            if parts.headers.len() > FIELDS {
                return Err(Failed { error: Invalid::TooMany.into(), again: false });
            }
            Ok((parts, Source::Http2(incoming, stream)))
        }
        Err(mut error) => {
            let unsent = error.take_message();
            let error = error.into_error();
            let harmless = unsent.is_some() || unprocessed(&error) || (reused && !once && lost(&error));
            let again = unsent.or(copy).filter(|_| harmless);
            let repeatable = again.is_some();
            if let Some(again) = again {
                *request = again;
            }
            Err(Failed { error: error.into(), again: repeatable })
        }
    }
}

/// The authority goes from Host to `:authority` (RFC 9113 §8.3.1).
fn address(request: &mut Request<RequestBody>) {
    let Some(host) = request.headers().get(HOST) else { return };
    let Ok(authority) = Authority::from_maybe_shared(bytes::Bytes::copy_from_slice(host.as_bytes())) else {
        return;
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    let Ok(uri) = Uri::from_parts(parts) else { return };
    *request.uri_mut() = uri;
    request.headers_mut().remove(HOST);
}

/// The backend says that it did nothing (RFC 9113 §8.7).
fn unprocessed(error: &hyper::Error) -> bool {
    cause(error).is_some_and(|cause| {
        let reason = if cause.is_go_away() { h2::Reason::NO_ERROR } else { h2::Reason::REFUSED_STREAM };
        cause.is_remote() && cause.reason() == Some(reason)
    })
}

/// The connection ended, and the backend said nothing of this request.
fn lost(error: &hyper::Error) -> bool {
    !error.is_parse() && cause(error).is_none_or(h2::Error::is_io)
}

fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}

/// A second one, when there is no body to be had again.
fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !matches!(request.body(), RequestBody::Empty) {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
