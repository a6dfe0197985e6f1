//! TCP for gRPC: no delay, no vectored writes, and the messages of many streams in one write.
//!
//! Where a connection can write vectors, h2 sends each DATA frame of more than 256 bytes in a system call of its own.
//! Where it cannot, frames up to 1,024 bytes are gathered in a buffer, so that the audio of many calls leaves in one
//! write: less than half the cost at 1,000 streams.
//!
//! That takes frames of many calls to be there when the connection writes. But the runtime runs what was woken last first: the
//! first stream that has a message wakes the connection, and that would write this one message before the next stream has its
//! turn. So the connection stands back once before it writes, behind all streams that have been woken already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// One connection.
#[derive(Debug)]
pub(super) struct Tcp {
    stream: TcpStream,
    /// Whether it has stood back since it last had nothing to write.
    stood_back: bool,
}

impl Tcp {
    /// Switches Nagle's algorithm off, which would hold small messages back for up to 40 ms.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, stood_back: false })
    }
}

impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

// `is_write_vectored` and `poll_write_vectored` are left as the trait has them: that is the purpose of this type.
impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.stood_back {
            self.stood_back = true;
            // A task that wakes itself goes to the end of the line.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stood_back = false;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Tcp {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn what_others_have_to_do_comes_before_a_write() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut near = Tcp::new(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()).unwrap();
        let mut far = Tcp::new(listener.accept().await.unwrap().0).unwrap();
        let turns = std::rc::Rc::new(std::cell::Cell::new(0));
        let (writing, other) = (turns.clone(), turns.clone());
        for round in 0..2 {
            let write = async {
                near.write_all(b"together").await.unwrap();
                near.flush().await.unwrap();
                writing.get()
            };
            let other = async { other.set(other.get() + 1) };
            assert_eq!(tokio::join!(write, other).0, round + 1, "the other one had its turn");
            let mut read = [0; 8];
            far.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"together");
        }
    }
}
