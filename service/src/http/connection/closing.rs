//! Owns the last stage of a connection that ends while its client may still be sending (RFC 9112, 9.6): our half is closed, and what
//! comes is read and thrown away for a while. Closed at once, the connection would be reset, and the client would lose the answer.

use std::future::poll_fn;
use std::task::Poll;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::settings::HttpSettings;
use super::link::{Demand, Link};

const BUFFER_BYTES: usize = 16 * 1024;

pub(super) async fn read_on(mut stream: TcpStream, link: &Link, settings: &HttpSettings) {
    let reading = async {
        // Once more, where the parser ended without: it does after a request to upgrade.
        stream.shutdown().await?;
        let (mut buffer, mut read) = (vec![0; BUFFER_BYTES], 0);
        while read <= settings.linger_bytes {
            match stream.read(&mut buffer).await? {
                0 => break,
                more => read += more,
            }
        }
        std::io::Result::Ok(())
    };
    let demanded = poll_fn(|cx| {
        link.task.register(cx.waker());
        if link.is_demanded(Demand::Leave) { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::select! {
        // However it ends, the connection closes now.
        _ = tokio::time::timeout(settings.linger(), reading) => {}
        () = demanded => {}
    }
}
