//! Reading a local log from another process: directly while no process holds the store, else
//! through the holder's socket. Never writes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use highwater_protocol::record::StoredRecord;
use tokio::{net::UnixStream, sync::Mutex};

use super::{
    Settings, blocking, serve,
    serve::Request,
    shared::to_error,
    store::{self, Bounds, Store, TopicRow},
};
use crate::{
    log::{Error, Partition},
    raw::{RawReader, RawTopic},
};

/// See the module.
#[derive(Debug)]
pub struct LocalReader;

impl LocalReader {
    /// A reader of the log in `folder`, which must be there. While it reads directly, the log
    /// cannot be opened for writing.
    pub async fn open(folder: impl AsRef<Path>) -> Result<Arc<dyn RawReader>, Error> {
        let folder = folder.as_ref().to_owned();
        let (opened, opening) = (folder.clone(), Settings::default().cache_bytes);
        let direct =
            tokio::task::spawn_blocking(move || Store::open(&opened, false, opening)).await;
        match direct.map_err(|error| Error::Unreachable(error.to_string()))? {
            Ok(store) => Ok(Arc::new(Direct::new(store)?)),
            Err(store::Error::Locked(_)) => Ok(Arc::new(Remote::connect(folder).await?)),
            Err(error) => Err(to_error(error)),
        }
    }
}

struct Direct {
    store: Arc<Store>,
    topics: Vec<(String, TopicRow)>,
}

impl Direct {
    fn new(store: Store) -> Result<Self, Error> {
        let topics = store.topics().map_err(to_error)?;
        Ok(Self { store: Arc::new(store), topics })
    }

    fn topic(&self, of: &Partition) -> Result<u32, Error> {
        let found =
            self.topics.iter().find(|(name, row)| **name == *of.topic && of.index < row.partitions);
        found.map(|(_, row)| row.id).ok_or_else(|| of.error("there is no such partition"))
    }
}

impl RawReader for Direct {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, Error>> {
        let topics = self
            .topics
            .iter()
            .map(|(name, row)| RawTopic { name: name.clone(), partitions: row.partitions })
            .collect();
        Box::pin(std::future::ready(Ok(topics)))
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let (topic, of, store) = (self.topic(of), of.clone(), Arc::clone(&self.store));
        blocking(move || store.begin(topic?, of.index).map_err(|error| of.error(error)))
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let (topic, of, store) = (self.topic(of), of.clone(), Arc::clone(&self.store));
        blocking(move || store.end(topic?, of.index).map_err(|error| of.error(error)))
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        let (topic, of, store) = (self.topic(of), of.clone(), Arc::clone(&self.store));
        blocking(move || {
            let topic = topic?;
            let end = store.end(topic, of.index).map_err(|error| of.error(error))?;
            if offset > end {
                return Err(
                    of.error(format!("offset {offset} is outside the log, which ends at {end}"))
                );
            }
            let bounds = Bounds { records: limit, bytes: Settings::default().fetch_bytes };
            store.fetch(topic, of.index, offset, end, bounds).map_err(|error| of.error(error))
        })
    }
}

/// One connection, made again when it broke.
struct Remote {
    folder: PathBuf,
    stream: Mutex<Option<UnixStream>>,
}

impl Remote {
    async fn connect(folder: PathBuf) -> Result<Self, Error> {
        let remote = Self { folder, stream: Mutex::default() };
        remote.ask(&Request::Topics).await?;
        Ok(remote)
    }

    async fn ask(&self, request: &Request) -> Result<Vec<u8>, Error> {
        let request =
            serde_json::to_vec(request).map_err(|error| Error::Refused(error.to_string()))?;
        let mut stream = self.stream.lock().await;
        // A kept connection may have been closed since (idle, or the holder was restarted): then
        // once more on a new one.
        let kept = stream.take();
        let tries = if kept.is_some() { 2 } else { 1 };
        let mut next = kept;
        let mut failed = None;
        for _ in 0..tries {
            let answered = match next.take() {
                Some(open) => exchange(open, &request).await,
                None => match connect(&self.folder).await {
                    Ok(open) => exchange(open, &request).await,
                    Err(error) => Err(error),
                },
            };
            match answered {
                Ok((open, answer)) => {
                    *stream = Some(open);
                    return understand(answer);
                }
                Err(error) => failed = Some(error),
            }
        }
        let why = failed.map_or_else(String::new, |error| error.to_string());
        Err(Error::Unreachable(format!(
            "{} is held by another process, whose socket does not answer: {why}",
            self.folder.display()
        )))
    }
}

async fn connect(folder: &Path) -> io::Result<UnixStream> {
    let at = serve::Address::of(folder)?;
    UnixStream::connect(at.path()).await
}

async fn exchange(mut stream: UnixStream, request: &[u8]) -> io::Result<(UnixStream, Vec<u8>)> {
    serve::write_frame(&mut stream, request).await?;
    let answer = serve::read_frame(&mut stream, serve::ANSWER_BYTES).await?;
    answer.map(|answer| (stream, answer)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn understand(mut answer: Vec<u8>) -> Result<Vec<u8>, Error> {
    match answer.first() {
        Some(&serve::DONE) => Ok(answer.split_off(1)),
        Some(&serve::REFUSED) => {
            Err(Error::Refused(String::from_utf8_lossy(&answer[1..]).into_owned()))
        }
        _ => Err(malformed()),
    }
}

impl RawReader for Remote {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, Error>> {
        Box::pin(async move {
            serde_json::from_slice(&self.ask(&Request::Topics).await?).map_err(|_| malformed())
        })
    }

    fn begin(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let request = Request::Begin { topic: of.topic.to_string(), partition: of.index };
        Box::pin(async move {
            Ok(u64::from_be_bytes(self.ask(&request).await?.try_into().map_err(|_| malformed())?))
        })
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, Error>> {
        let request = Request::End { topic: of.topic.to_string(), partition: of.index };
        Box::pin(async move {
            Ok(u64::from_be_bytes(self.ask(&request).await?.try_into().map_err(|_| malformed())?))
        })
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, Error>> {
        let request =
            Request::Fetch { topic: of.topic.to_string(), partition: of.index, offset, limit };
        Box::pin(async move { serve::decode(&self.ask(&request).await?).ok_or_else(malformed) })
    }
}

fn malformed() -> Error {
    Error::Unreachable(
        "the process that holds the log answered something else than this protocol: \
                        another release?"
            .to_owned(),
    )
}
