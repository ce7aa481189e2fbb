//! Backends that speak HTTP/2, and what they may do otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use gatehouse_tests::client::{self, Connection, Reply};
use gatehouse_tests::fake_agent::{backend, rule};
use gateway_common::ir::BackendProtocol;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use crate::bed::{Bed, Echo, Refusing, backend_socket};

/// Serves connections with room for `room` streams each; an answer comes when `crowd` requests are there at once.
async fn crowded(listener: TcpListener, room: u32, crowd: usize, connections: Arc<AtomicUsize>) {
    let barrier = Arc::new(Barrier::new(crowd));
    while let Ok((stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::Relaxed);
        let barrier = barrier.clone();
        let service = service_fn(move |_| {
            let barrier = barrier.clone();
            async move {
                barrier.wait().await;
                Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(b"all here"))))
            }
        });
        let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.max_concurrent_streams(room);
        tokio::spawn(async move { drop(server.serve_connection(TokioIo::new(stream), service).await) });
    }
}

/// As many requests, each on a connection of its own.
async fn at_once(bed: &Bed, count: usize) -> Vec<Reply> {
    let ask = |target| async move { client::send(&target, client::request("a.example", "/").unwrap()).await };
    let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(ask(bed.http1()))).collect();
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.unwrap().unwrap());
    }
    replies
}

#[tokio::test]
async fn a_full_connection_gets_another_one_beside_it() {
    const CROWD: usize = 7;
    const ROOM: u32 = 2;
    let (listener, address) = backend_socket().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let serving = tokio::spawn(crowded(listener, ROOM, CROWD, connections.clone()));
    let mut bed = Bed::new().await;
    bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::H2c, &[address])]).await;
    for round in 1..=2 {
        for reply in at_once(&bed, CROWD).await {
            assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &b"all here"[..]), "round {round}");
        }
    }
    // Two workers, ⌈n / 2⌉ connections each in the worst case, and a connection is used again.
    let opened = connections.load(Ordering::Relaxed);
    assert!((4..=8).contains(&opened), "{opened} connections");
    serving.abort();
}

#[tokio::test]
async fn a_connect_that_fails_for_many_is_tried_elsewhere_by_all() {
    let echo = Echo::start("b");
    let refusing = Refusing::new();
    // Takes connections and never says a word of HTTP/2.
    let (_silent, silent) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.settings.timeouts.connect_ms = 300;
    for broken in [refusing.address, silent] {
        let endpoints = [broken, echo.address];
        bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::H2c, &endpoints)]).await;
        for reply in at_once(&bed, 40).await {
            assert_eq!(reply.status, StatusCode::OK, "{broken}");
        }
        bed.serve(vec![rule("/", "b")], Vec::new()).await;
    }
    bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::H2c, &[silent])]).await;
    assert_eq!(bed.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_body_for_head_is_left_out() {
    let (listener, address) = backend_socket().await;
    let serving = tokio::spawn(crowded(listener, 100, 1, Arc::default()));
    let mut bed = Bed::new().await;
    bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::H2c, &[address])]).await;
    for target in [bed.http1(), bed.http2()] {
        let mut connection = Connection::open(&target).await.unwrap();
        for method in [Method::HEAD, Method::GET, Method::HEAD, Method::GET] {
            let mut request = client::request("a.example", "/").unwrap();
            *request.method_mut() = method.clone();
            let reply = connection.send(request).await.unwrap();
            let length = if method == Method::HEAD { 0 } else { 8 };
            assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, length), "{method}");
        }
    }
    serving.abort();
}

/// As over HTTP/1.1.
#[tokio::test]
async fn an_answer_may_have_a_large_header() {
    let (listener, address) = backend_socket().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|_| async {
                let large = "x".repeat(40 << 10);
                Response::builder().header("x-large", large).body(Full::new(Bytes::new()))
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { drop(server.serve_connection(TokioIo::new(stream), service).await) });
        }
    });
    let mut bed = Bed::new().await;
    bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::H2c, &[address])]).await;
    let reply = bed.get("/").await;
    assert_eq!((reply.status, reply.headers["x-large"].len()), (StatusCode::OK, 40 << 10));
}

#[tokio::test]
async fn an_answer_with_too_many_fields_is_502() {
    let (listener, address) = backend_socket().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|_| async {
                let fields = (0..150).map(|n| format!("x-{n}"));
                let answer = fields.fold(Response::builder(), |answer, name| answer.header(name, "1"));
                answer.body(Full::new(Bytes::new()))
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { drop(server.serve_connection(TokioIo::new(stream), service).await) });
        }
    });
    let mut bed = Bed::new().await;
    bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::H2c, &[address])]).await;
    assert_eq!(bed.get("/").await.status, StatusCode::BAD_GATEWAY);
}
