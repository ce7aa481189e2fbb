//! A TCP stream that joins small pieces before it sends them: one buffer by send(2) costs the kernel less than a vector by
//! writev(2), which is an operation on a file.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub struct Gathered<S = TcpStream>(S);

/// Copying more than this costs more than the vector.
const SMALL: usize = 1024;

impl<S> Gathered<S> {
    pub fn new(stream: S) -> Self {
        Self(stream)
    }

    pub fn get_ref(&self) -> &S {
        &self.0
    }

    pub fn into_inner(self) -> S {
        self.0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.0);
        if let [only] = data {
            return stream.poll_write(cx, only);
        }
        let mut joined = [0; SMALL];
        match join(data, &mut joined) {
            Some(length) => stream.poll_write(cx, &joined[..length]),
            None => stream.poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Copies all pieces; None if they are too large together.
fn join(pieces: &[IoSlice<'_>], into: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    for piece in pieces {
        into.get_mut(length..length + piece.len())?.copy_from_slice(piece);
        length += piece.len();
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn what_is_too_large_is_not_joined() {
        let mut into = [0; 4];
        assert_eq!(join(&[IoSlice::new(b"ab"), IoSlice::new(b"cd")], &mut into), Some(4));
        assert_eq!(&into, b"abcd");
        assert_eq!(join(&[IoSlice::new(b"abc"), IoSlice::new(b"de")], &mut into), None);
        assert_eq!(join(&[], &mut into), Some(0));
    }

    #[tokio::test]
    async fn pieces_arrive_in_order_whatever_their_size() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut server = listener.accept().await.unwrap().0;
        let mut gathered = Gathered::new(client);
        let large = [b'x'; 2 * SMALL];
        for pieces in [&[&b"a"[..], b"bc"][..], &[b"only"], &[&large, b"y"]] {
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let want = pieces.concat();
            assert_eq!(gathered.write_vectored(&slices).await.unwrap(), want.len());
            let mut got = vec![0; want.len()];
            server.read_exact(&mut got).await.unwrap();
            assert_eq!(got, want);
        }
    }
}
