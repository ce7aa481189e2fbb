//! WebSocket through the gateway, as RFC 6455 has it, over HTTP/1.1.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use gatehouse_tests::client;
use gatehouse_tests::fake_agent::{backend, rule};
use gateway_common::ir::BackendProtocol;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::bed::{Bed, Echo, read_until};

async fn heard<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Option<Message> {
    let next = tokio::time::timeout(client::PATIENCE, socket.next()).await.unwrap();
    next.map(Result::unwrap)
}

/// The client's library checks `Sec-WebSocket-Accept`.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let (mut socket, answer) = client_async("ws://a.example/chat", stream).await.unwrap();
    assert_eq!(answer.headers()["x-backend"], "b");
    for message in [
        Message::text("Grüße"),
        Message::binary(vec![7; 100_000]),
        Message::text(""),
        Message::binary((0..=255).collect::<Vec<u8>>()),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(heard(&mut socket).await, Some(message));
    }
    socket.send(Message::Ping("still there?".into())).await.unwrap();
    assert_eq!(heard(&mut socket).await, Some(Message::Pong("still there?".into())));
    let goodbye = CloseFrame { code: CloseCode::Away, reason: "enough".into() };
    socket.close(Some(goodbye.clone())).await.unwrap();
    let Some(Message::Close(Some(answer))) = heard(&mut socket).await else { panic!("no close") };
    assert_eq!(answer.code, goodbye.code);
    assert_eq!(heard(&mut socket).await, None);
}

#[tokio::test]
async fn messages_pings_and_the_close_pass_both_ways() {
    let echo = Echo::start("b");
    let mut bed = Bed::with_tls().await;
    bed.serve(vec![rule("/", "b")], vec![backend("b", BackendProtocol::Http1, &[echo.address])]).await;
    for target in bed.targets().into_iter().filter(|target| !target.h2) {
        let stream = TcpStream::connect(target.address).await.unwrap();
        match target.tls {
            None => converse(stream).await,
            Some((config, name)) => {
                let name = ServerName::try_from(name).unwrap();
                converse(TlsConnector::from(Arc::clone(&config)).connect(name, stream).await.unwrap()).await;
            }
        }
    }
}

/// The refusal is the backend's, and it passes as any answer.
#[tokio::test]
async fn a_handshake_that_the_backend_refuses_is_its_answer() {
    let echo = Echo::start("b");
    let mut bed = Bed::new().await;
    bed.serve_all(&[echo.address]).await;
    let mut stream = TcpStream::connect(bed.address).await.unwrap();
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
