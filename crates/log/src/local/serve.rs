//! The socket by which other processes read while this one holds the store: `log.sock` in the data
//! folder, for its owner only. Read only. A frame is `u32 length, bytes`; a request is JSON; an
//! answer is a byte (0 done, 1 refused) and the content.

use std::{
    fs, io,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use highwater_protocol::record::StoredRecord;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

use super::{codec, shared::Shared};
use crate::log::{Error, Partition};

pub const SOCKET: &str = "log.sock";
const REQUEST_BYTES: usize = 64 << 10;
/// Above what a look-up returns with one largest record.
pub const ANSWER_BYTES: usize = 64 << 20;
const IDLE: Duration = Duration::from_secs(60);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    Topics,
    Begin { topic: String, partition: u32 },
    End { topic: String, partition: u32 },
    Fetch { topic: String, partition: u32, offset: u64, limit: usize },
}

pub const DONE: u8 = 0;
pub const REFUSED: u8 = 1;

/// What a socket's address has room for (`sun_path`) on Linux and macOS, the zero at its end
/// counted.
const ADDRESS_BYTES: usize = if cfg!(target_os = "linux") { 108 } else { 104 };

/// The way to the socket in a folder, also where the folder's own path is too long for the address
/// of a socket.
pub struct Address {
    path: PathBuf,
    _folder: Option<fs::File>,
}

impl Address {
    pub fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join(SOCKET);
        let bytes = path.as_os_str().len();
        if bytes < ADDRESS_BYTES {
            return Ok(Self { path, _folder: None });
        }
        let open = fs::File::open(folder)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
        if !short.is_dir() {
            let most = ADDRESS_BYTES - 1;
            let said = format!(
                "{} has {bytes} bytes, and a socket's path at most {most}: use a data folder with \
                 a shorter path",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, said));
        }
        Ok(Self { path: short.join(SOCKET), _folder: Some(open) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Starts to serve; where there can be no socket, it is served without, with a warning.
pub fn start(shared: &Arc<Shared>) -> Result<(), Error> {
    let path = shared.folder.join(SOCKET);
    // Open as long as the path that may lead through it is used.
    let at = Address::of(&shared.folder).map_err(|error| Error::Refused(error.to_string()))?;
    let _context =
        tokio::runtime::Handle::try_current().map_err(|error| Error::Refused(error.to_string()))?;
    match bind(at.path()) {
        Ok(listener) => {
            tokio::spawn(accept(listener, Arc::clone(shared)));
        }
        Err(error) => {
            tracing::warn!(socket = %path.display(), %error, "other processes cannot read this log \
                while it is open here");
        }
    }
    Ok(())
}

/// The store's lock is held: a socket that is there belongs to a process that died.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let connections = Arc::new(Semaphore::new(shared.settings.socket_connections));
    loop {
        let accepted = tokio::select! {
            () = shared.closed.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a reader of the local log cannot be accepted");
                // Out of descriptors, for example: the next try would fail at once as well.
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let closed = shared.closed.clone();
            tokio::select! {
                () = closed.cancelled() => {}
                served = converse(stream, shared) => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "a reader of the local log went away");
                    }
                }
            }
            drop(permit);
        });
    }
    // Best effort: the next process to open the log removes it too.
    let _ = fs::remove_file(shared.folder.join(SOCKET));
}

async fn converse(mut stream: UnixStream, shared: Arc<Shared>) -> io::Result<()> {
    while let Some(request) =
        tokio::time::timeout(IDLE, read_frame(&mut stream, REQUEST_BYTES)).await??
    {
        let (answering, parsed) =
            (Arc::clone(&shared), serde_json::from_slice::<Request>(&request));
        let answer = tokio::task::spawn_blocking(move || match parsed {
            Ok(request) => answer(&answering, request),
            Err(error) => Err(Error::Refused(format!("not a request of this protocol: {error}"))),
        });
        let frame = match answer.await? {
            Ok(content) => [&[DONE][..], &content].concat(),
            Err(error) => [&[REFUSED][..], error.to_string().as_bytes()].concat(),
        };
        tokio::time::timeout(IDLE, write_frame(&mut stream, &frame)).await??;
    }
    Ok(())
}

fn answer(shared: &Shared, request: Request) -> Result<Vec<u8>, Error> {
    match request {
        Request::Topics => serde_json::to_vec(&shared.raw_topics())
            .map_err(|error| Error::Refused(error.to_string())),
        Request::Begin { topic, partition } => {
            let topic = shared.topic(&Partition { topic: topic.into(), index: partition })?;
            Ok(topic.begin(partition).to_be_bytes().to_vec())
        }
        Request::End { topic, partition } => {
            let topic = shared.topic(&Partition { topic: topic.into(), index: partition })?;
            Ok(topic.end(partition).borrow().to_be_bytes().to_vec())
        }
        Request::Fetch { topic, partition, offset, limit } => Ok(encode(&shared.look_up(
            &Partition { topic: topic.into(), index: partition },
            offset,
            limit,
        )?)),
    }
}

fn encode(records: &[StoredRecord]) -> Vec<u8> {
    let mut out = Vec::new();
    for stored in records {
        let mut bytes = Vec::new();
        codec::encode(stored.appended_at_ms, &stored.record, &mut bytes);
        out.extend(stored.offset.to_be_bytes());
        out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(bytes);
    }
    out
}

/// What [`encode`] wrote.
pub fn decode(mut bytes: &[u8]) -> Option<Vec<StoredRecord>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(12)?;
        let offset = u64::from_be_bytes(head[..8].try_into().ok()?);
        let length = u32::from_be_bytes(head[8..].try_into().ok()?);
        let (record, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        records.push(codec::decode(offset, record)?);
        bytes = rest;
    }
    Some(records)
}

pub async fn write_frame(to: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(frame).await
}

/// `None` at the end of the stream.
pub async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(io::Error::other(format!("a frame of {length} bytes is longer than {limit}")));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await?;
    Ok(Some(frame))
}
