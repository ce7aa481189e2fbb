//! Answers of backends, as they come off the wire.

use std::time::Duration;

use bytes::Bytes;
use gatehouse_tests::client::{self, Connection, PATIENCE};
use http_body_util::Full;
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bed::{Bed, backend_socket, read_until};

fn post() -> Request<Full<Bytes>> {
    Request::post("/").header("host", "a.example").body(Full::from("body")).unwrap()
}

fn get() -> Request<Full<Bytes>> {
    client::request("a.example", "/").unwrap()
}

const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn an_answer_is_the_same_however_it_is_cut() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nx-sum: 1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
        "HTTP/1.0 200 OK\r\n\r\nhello world",
    ];
    let backend = tokio::spawn(async move {
        for answer in answers {
            for step in [1, 7, answer.len()] {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                read_until(&mut stream, "\r\n\r\n").await;
                for piece in answer.as_bytes().chunks(step) {
                    stream.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    for answer in answers {
        for _ in 0..3 {
            let reply = client::send(&bed.http1(), get()).await.unwrap();
            assert_eq!((reply.status, &*reply.body), (StatusCode::OK, &b"hello world"[..]), "{answer}");
        }
    }
    backend.await.unwrap();
}

#[tokio::test]
async fn what_comes_after_an_answer_is_never_the_next_one() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    tokio::spawn(async move {
        let evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
        while let Ok((mut stream, _)) = listener.accept().await {
            read_until(&mut stream, "\r\n\r\n").await;
            let _ = stream.write_all(&[SMALL, evil].concat()).await;
            tokio::spawn(async move {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            });
        }
    });
    let mut connection = Connection::open(&bed.http1()).await.unwrap();
    for _ in 0..5 {
        assert_eq!(connection.send(get()).await.unwrap().body, "ok");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_twice_goes_over_no_connection_that_was_closed() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_until(&mut stream, "body").await;
            // And closes at once, as a backend that is about to be replaced does.
            let _ = stream.write_all(SMALL).await;
        }
    });
    let mut connection = Connection::open(&bed.http1()).await.unwrap();
    for _ in 0..50 {
        let reply = connection.send(post()).await.unwrap();
        assert_eq!(reply.status, StatusCode::OK);
        // Its end is on the way from the kernel to the proxy, or there.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn an_answer_may_begin_and_end_before_the_request_is_through() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "begin").await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await
            .unwrap();
        read_until(&mut stream, "end").await;
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(SMALL).await.unwrap();
    });
    let mut client = TcpStream::connect(bed.address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbegin").await.unwrap();
    read_until(&mut client, "first").await;
    client.write_all(b"end").await.unwrap();
    read_until(&mut client, "0\r\n\r\n").await;
    // Both connections serve the next one.
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_until(&mut client, "ok").await.starts_with("HTTP/1.1 200"));
    backend.await.unwrap();
}

/// Both sides send more than all buffers between them hold, and read only what the other sends.
#[tokio::test]
async fn bodies_of_both_directions_do_not_wait_for_each_other() {
    const LENGTH: usize = 32 << 20;
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    let backend = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        write.write_all(head.as_bytes()).await.unwrap();
        tokio::join!(send(&mut write, LENGTH), take(&mut read, LENGTH));
    });
    let (mut read, mut write) = TcpStream::connect(bed.address).await.unwrap().into_split();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n");
    write.write_all(head.as_bytes()).await.unwrap();
    let both = async { tokio::join!(send(&mut write, LENGTH), take(&mut read, LENGTH)) };
    tokio::time::timeout(2 * PATIENCE, both).await.expect("neither side gets on");
    backend.await.unwrap();
}

async fn send(to: &mut (impl tokio::io::AsyncWrite + Unpin), mut length: usize) {
    let piece = [b'x'; 65_536];
    while length > 0 {
        let count = length.min(piece.len());
        to.write_all(&piece[..count]).await.unwrap();
        length -= count;
    }
}

/// Reads at least `length` bytes.
async fn take(from: &mut (impl tokio::io::AsyncRead + Unpin), length: usize) {
    let mut piece = [0; 65_536];
    let mut seen = 0;
    while seen < length {
        let count = from.read(&mut piece).await.unwrap();
        assert!(count > 0, "closed after {seen}");
        seen += count;
    }
}

#[tokio::test]
async fn a_connection_that_the_backend_closes_while_it_is_idle_is_closed() {
    let (listener, address) = backend_socket().await;
    let mut bed = Bed::new().await;
    bed.serve_all(&[address]).await;
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(SMALL).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
            .await
            .expect("it stays half open")
            .unwrap();
    });
    assert_eq!(client::send(&bed.http1(), get()).await.unwrap().body, "ok");
    backend.await.unwrap();
}
