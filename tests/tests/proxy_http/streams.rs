//! HTTP/2 streams that end otherwise than by their last frame, or do not end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gatehouse_tests::client::{self, Connection};
use gatehouse_tests::fake_agent::{backend, rule};
use gateway_common::ir::BackendProtocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::bed::{Bed, backend_socket, read_until};

/// An h2c backend that does this with each request.
async fn serving<F>(
    handle: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
) -> Bed
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = backend_socket().await;
    let handle = Arc::new(handle);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handle = handle.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(handle(request, respond));
                }
            });
        }
    });
    bed(address).await
}

async fn bed(backend_address: SocketAddr) -> Bed {
    let mut bed = Bed::new().await;
    bed.settings.timeouts.body_idle_ms = 300;
    bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::H2c, &[backend_address])]).await;
    bed
}

fn begin(mut respond: SendResponse<Bytes>) -> SendStream<Bytes> {
    respond.send_response(Response::new(()), false).unwrap()
}

/// Begins a POST on a connection of its own, and leaves the request open.
async fn open(bed: &Bed, kind: &str) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let stream = TcpStream::connect(bed.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let request = Request::post("http://a.example/").header("content-type", kind).body(()).unwrap();
    let (answer, mut body) = sender.ready().await.unwrap().send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"abc"), false).unwrap();
    (answer, body)
}

#[tokio::test]
async fn an_answer_that_is_reset_is_not_whole() {
    let bed = serving(|_, respond| async move {
        let mut body = begin(respond);
        body.send_data(Bytes::from_static(b"part"), false).unwrap();
        // The frames before it leave first.
        tokio::time::sleep(Duration::from_millis(200)).await;
        body.send_reset(Reason::NO_ERROR);
    })
    .await;
    for target in [bed.http1(), bed.http2()] {
        let mut connection = Connection::open(&target).await.unwrap();
        let answer = connection.start(client::request("a.example", "/").unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body = tokio::time::timeout(client::PATIENCE, answer.into_body().collect()).await;
        assert!(body.expect("the answer does not end").is_err(), "h2: {}", target.h2);
    }
}

#[tokio::test]
async fn an_answer_that_is_whole_may_be_followed_by_a_reset() {
    let bed = serving(|_, respond| async move {
        let mut body = begin(respond);
        body.send_data(Bytes::from_static(b"whole"), true).unwrap();
        // As a server does that does not want the rest of the request (RFC 9113 §8.1).
        tokio::time::sleep(Duration::from_millis(100)).await;
        body.send_reset(Reason::NO_ERROR);
    })
    .await;
    for target in [bed.http1(), bed.http2()] {
        let reply = client::send(&target, client::request("a.example", "/").unwrap()).await.unwrap();
        assert_eq!(&reply.body[..], b"whole");
    }
}

#[tokio::test]
async fn a_request_that_is_reset_is_not_whole() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    let (_answer, mut body) = open(&bed, "text/plain").await;
    let (mut stream, _) = listener.accept().await.unwrap();
    read_until(&mut stream, "abc").await;
    body.send_reset(Reason::NO_ERROR);
    let mut rest = String::new();
    let read = stream.read_to_string(&mut rest);
    tokio::time::timeout(client::PATIENCE, read).await.expect("the proxy waits").unwrap();
    assert_eq!(rest.trim(), "");
}

/// What a request without a body comes to when the backend resets it by `reason`, and how often it was sent.
async fn reset_by(method: Method, reason: Reason) -> (StatusCode, usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let bed = serving(move |_, mut respond| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move { respond.send_reset(reason) }
    })
    .await;
    let mut request = client::request("a.example", "/").unwrap();
    *request.method_mut() = method;
    let reply = client::send(&bed.http1(), request).await.unwrap();
    (reply.status, count.load(Ordering::Relaxed))
}

#[tokio::test]
async fn only_what_the_backend_did_not_begin_is_sent_again() {
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL] {
        assert_eq!(reset_by(Method::DELETE, reason).await, (StatusCode::BAD_GATEWAY, 1), "{reason}");
    }
    for method in [Method::GET, Method::POST] {
        let (status, count) = reset_by(method.clone(), Reason::REFUSED_STREAM).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{method}");
        assert!(count > 1, "{method} was sent {count} times");
    }
}

#[tokio::test]
async fn the_authority_is_where_http2_has_it() {
    let bed = serving(|request, respond| async move {
        let told = format!("{} {:?}", request.uri(), request.headers().get("host"));
        begin(respond).send_data(Bytes::from(told), true).unwrap();
    })
    .await;
    let reply = client::send(&bed.http1(), client::request("a.example", "/x?y").unwrap()).await.unwrap();
    assert_eq!(&reply.body[..], b"http://a.example/x?y None");
}

#[tokio::test]
async fn a_client_may_be_silent_while_its_answer_comes() {
    let bed = serving(|_, respond| async move {
        let mut body = begin(respond);
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            body.send_data(Bytes::from_static(b"."), false).unwrap();
        }
        body.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let (answer, _body) = open(&bed, "text/plain").await;
    let answer = answer.await.unwrap();
    assert_eq!(whole(answer.into_body()).await, 10);
}

#[tokio::test]
async fn a_grpc_stream_may_be_silent() {
    let bed = serving(|_, respond| async move {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        begin(respond).send_data(Bytes::from_static(b"event"), true).unwrap();
    })
    .await;
    let (answer, _body) = open(&bed, "application/grpc+proto").await;
    let answer = answer.await.unwrap();
    assert_eq!((answer.status(), whole(answer.into_body()).await), (StatusCode::OK, 5));
    let (answer, _body) = open(&bed, "text/plain").await;
    assert_eq!(answer.await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
}

async fn whole(mut body: RecvStream) -> usize {
    let mut length = 0;
    while let Some(data) = tokio::time::timeout(client::PATIENCE, body.data()).await.unwrap() {
        length += data.unwrap().len();
    }
    length
}
