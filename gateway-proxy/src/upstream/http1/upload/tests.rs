use std::time::Duration;

use http::HeaderMap;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::deadline::Deadlines;
use crate::gather::Gathered;
use crate::upstream::copy::{Patience, pair};

/// What arrives of a request whose body is `frames`.
async fn arrives(length: Length, frames: Vec<Frame<Bytes>>) -> (Result<(), AnswerError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut backend = listener.accept().await.unwrap().0;
    let mut writer = Gathered::new(stream.into_split().1);
    let patience = Patience::new(Deadlines::new().deadline(), Duration::from_secs(60));
    let (copier, copied) = pair(patience);
    for frame in frames {
        assert!(copier.copy(&frame));
    }
    copier.end();
    let mut upload = Upload::new(b"head\r\n\r\n".to_vec(), RequestBody::Copy(copied), length);
    assert!(upload.is_untouched());
    let reading = async {
        let mut seen = String::new();
        backend.read_to_string(&mut seen).await.unwrap();
        seen
    };
    let writing = async {
        let sent = std::future::poll_fn(|cx| upload.poll(&mut writer, cx)).await;
        drop(writer);
        sent
    };
    tokio::join!(writing, reading)
}

fn data(text: &str) -> Frame<Bytes> {
    Frame::data(Bytes::copy_from_slice(text.as_bytes()))
}

#[tokio::test]
async fn a_body_of_known_length_is_written_as_it_is() {
    let (sent, seen) = arrives(Length::Known(8), vec![data("body"), data(""), data("more")]).await;
    assert!(sent.is_ok());
    assert_eq!(seen, "head\r\n\r\nbodymore");
}

#[tokio::test]
async fn any_other_is_written_in_chunks_with_its_trailers() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    let large = "x".repeat(300_000);
    let (sent, seen) =
        arrives(Length::Chunked, vec![data("body"), data(&large), Frame::trailers(trailers)]).await;
    assert!(sent.is_ok());
    assert_eq!(seen, format!("head\r\n\r\n4\r\nbody\r\n493e0\r\n{large}\r\n0\r\nx-sum: 1\r\n\r\n"));
    let (sent, seen) = arrives(Length::Chunked, Vec::new()).await;
    assert!(sent.is_ok());
    assert_eq!(seen, "head\r\n\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_said_is_not_sent_as_if_it_were() {
    for frames in [vec![data("too")], vec![data("much"), data("!")]] {
        let (sent, seen) = arrives(Length::Known(4), frames).await;
        assert!(matches!(sent, Err(AnswerError::Length)), "{seen}");
    }
}
