//! Owns the last stage of a connection that ends while its client may still be sending (RFC 9112,
//! 9.6): our half is closed, and what comes is read and thrown away for a while. Closed at once,
//! the connection would be reset, and the client would lose the answer.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::settings::HttpSettings;
use super::link::{Demand, Link};

const BUFFER_BYTES: usize = 16 * 1024;
/// How long it is read on where the connection is to leave: a drain waits for it.
const HURRIED: Duration = Duration::from_millis(250);

pub(super) async fn read_on(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    link: &Link,
    settings: &HttpSettings,
) {
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
    let hurried = async {
        demanded(link, Demand::Leave).await;
        tokio::time::sleep(HURRIED).await;
    };
    tokio::select! {
        // However it ends, the connection closes now.
        _ = tokio::time::timeout(settings.linger(), reading) => {}
        () = hurried => {}
        () = demanded(link, Demand::End) => {}
    }
}

async fn demanded(link: &Link, demand: Demand) {
    poll_fn(|cx| {
        link.task.register(cx.waker());
        if link.is_demanded(demand) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;

    /// A client that is still writing, and the end of its connection.
    fn lingering(link: &Arc<Link>) -> (DuplexStream, JoinHandle<()>) {
        let (client, stream) = duplex(1_024);
        let link = Arc::clone(link);
        (
            client,
            tokio::spawn(async move { read_on(stream, &link, &HttpSettings::default()).await }),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_reads_on_for_a_moment_and_a_hard_end_does_not()
    -> Result<(), Box<dyn std::error::Error>> {
        let link = Arc::new(Link::new("192.0.2.1:1".parse()?, false, Arc::default()));
        let (mut client, ended) = lingering(&link);
        client.write_all(&[0; 5_000]).await?;
        link.demand(Demand::Leave);
        let told = Instant::now();
        client.write_all(&[0; 5_000_000]).await?;
        ended.await?;
        assert_eq!(told.elapsed(), HURRIED);
        let (_client, ended) = lingering(&link);
        link.demand(Demand::End);
        ended.await?;
        assert_eq!(told.elapsed(), HURRIED);
        Ok(())
    }
}
