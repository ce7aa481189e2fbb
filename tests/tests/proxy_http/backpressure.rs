//! Peers that do not take what is there for them, and others on the same HTTP/2 connection.

use std::time::Duration;

use bytes::Bytes;
use gatehouse_tests::client;
use gatehouse_tests::fake_agent::{backend, rule};
use gateway_common::ir::BackendProtocol;
use h2::RecvStream;
use h2::client::SendRequest;
use hyper::{Request, Response};
use tokio::net::TcpStream;

use crate::bed::{Bed, backend_socket};

/// So that what ends a connection is not the test's own side of it.
const BUDGET: usize = 1 << 30;

/// An h2c backend that sends `/PIECES/SIZE`: so many DATA frames of that size, as fast as it may. A request with a body is
/// answered by its length, when all of it has come: with `/slow`, nothing of it is read for a second.
async fn bed() -> Bed {
    let (listener, address) = backend_socket().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                let mut connection = builder.data_frame_budget(BUDGET).handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond));
                }
            });
        }
    });
    let mut bed = Bed::new().await;
    bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::H2c, &[address])]).await;
    bed
}

async fn answer(request: Request<RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let (parts, body) = request.into_parts();
    let mut numbers = parts.uri.path().split('/').skip(1).map(str::parse::<usize>);
    let (Some(Ok(pieces)), Some(Ok(size))) = (numbers.next(), numbers.next()) else {
        if parts.uri.path() == "/slow" {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let length = read(body).await.to_string();
        let mut sending = respond.send_response(Response::new(()), false).unwrap();
        return sending.send_data(length.into(), true).unwrap();
    };
    let mut sending = respond.send_response(Response::new(()), false).unwrap();
    for _ in 0..pieces {
        sending.reserve_capacity(size);
        while sending.capacity() < size {
            // The client went.
            let Some(Ok(_)) = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await else { return };
        }
        if sending.send_data(vec![b'x'; size].into(), false).is_err() {
            return;
        }
    }
    let _gone = sending.send_data(Bytes::new(), true);
}

/// How much there is of it.
async fn read(mut body: RecvStream) -> usize {
    let mut length = 0;
    while let Some(part) = body.data().await {
        let part = part.unwrap();
        length += part.len();
        body.flow_control().release_capacity(part.len()).unwrap();
    }
    length
}

async fn connect(bed: &Bed) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(bed.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (sender, connection) = builder.data_frame_budget(BUDGET).handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender
}

/// The answer to a GET, nothing of its body being read.
async fn begin(bed: &Bed, path: &str) -> RecvStream {
    let request = Request::get(format!("http://a.example{path}")).body(()).unwrap();
    let mut sender = connect(bed).await.ready().await.unwrap();
    let (answer, _) = sender.send_request(request, true).unwrap();
    let body = tokio::time::timeout(client::PATIENCE, answer).await.expect("no answer").unwrap().into_body();
    // The connection lives as long as its handle.
    tokio::spawn(async move {
        tokio::time::sleep(client::PATIENCE).await;
        drop(sender);
    });
    body
}

#[tokio::test]
async fn clients_that_read_nothing_hold_up_no_other() {
    let bed = bed().await;
    let mut stuck = Vec::new();
    for _ in 0..40 {
        stuck.push(begin(&bed, "/400/10000").await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..10 {
        let whole = read(begin(&bed, "/50/10000").await);
        assert_eq!(tokio::time::timeout(client::PATIENCE, whole).await.expect("it is held up"), 500_000);
    }
    // Each gets what it asked for all the same.
    let first = stuck.swap_remove(0);
    assert_eq!(
        tokio::time::timeout(client::PATIENCE, read(first)).await.expect("it stands still"),
        4_000_000
    );
}

#[tokio::test]
async fn small_messages_may_wait_for_a_slow_client() {
    let bed = bed().await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(begin(&bed, "/40000/12").await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for body in slow {
        assert_eq!(tokio::time::timeout(client::PATIENCE, read(body)).await.unwrap(), 40_000 * 12);
    }
}

#[tokio::test]
async fn small_messages_may_wait_for_a_slow_backend() {
    let bed = bed().await;
    let request = Request::post("http://a.example/slow").body(()).unwrap();
    let mut sender = connect(&bed).await.ready().await.unwrap();
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    for _ in 0..8000 {
        body.send_data(Bytes::from_static(b"twelve bytes"), false).unwrap();
    }
    body.send_data(Bytes::new(), true).unwrap();
    let answer = tokio::time::timeout(client::PATIENCE, answer).await.expect("no answer").unwrap();
    let mut body = answer.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "96000");
}
