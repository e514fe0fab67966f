//! Products, then stock, then every basket as an order, so many commands at once. The first failure
//! ends it: what was done stays, and the next run goes on from there.

use std::{collections::HashMap, future::Future};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tokio::{sync::mpsc, task};

use super::{
    Args, Error, Summary,
    baskets::{Basket, Baskets},
    client::{Answer, Client},
    command::Command,
    progress::Progress,
    source::Source,
    summary::Count,
    survey::Survey,
};

/// Nothing is sent before both files were read to their ends and found fit. Progress goes to
/// stderr.
pub async fn run(args: Args) -> Result<Summary, Error> {
    let (baskets, products) = (args.baskets(), args.products());
    let survey = survey(&baskets, &products).await?;
    let progress = Progress::new();
    let client = Client::new(args.url.clone(), args.patience(), progress.notices())?;
    let load = Load {
        client: &client,
        survey: &survey,
        progress: &progress,
        concurrency: usize::from(args.concurrency),
    };
    let mut summary = Summary {
        products: load.products().await?,
        stock: load.stock().await?,
        ..Summary::default()
    };
    load.baskets(baskets, args.limit.unwrap_or(u64::MAX), &mut summary).await?;
    Ok(summary)
}

struct Load<'a> {
    client: &'a Client,
    survey: &'a Survey,
    progress: &'a Progress,
    concurrency: usize,
}

/// Of a problem (RFC 9457), what tells rejections apart.
#[derive(Deserialize)]
struct Problem {
    code: String,
}

impl Load<'_> {
    async fn products(&self) -> Result<Count, Error> {
        let created = self.survey.products.iter().map(|product| async move {
            let command = Command::create(product)?;
            let answer = self.client.send(&command).await?;
            match answer.status {
                201 => Ok(answer.replayed),
                409 if code(&answer) == "product.already-exists" => Ok(true),
                _ => Err(unexpected(&command, answer)),
            }
        });
        self.counted("products", created).await
    }

    async fn stock(&self) -> Result<Count, Error> {
        let received = self.survey.products.iter().map(|product| async move {
            let command = Command::receive(product, &self.survey.digest)?;
            let answer = self.client.send(&command).await?;
            if answer.status == 200 {
                Ok(answer.replayed)
            } else {
                Err(unexpected(&command, answer))
            }
        });
        self.counted("stock", received).await
    }

    /// Of commands that say whether they found their work done.
    async fn counted<C: Future<Output = Result<bool, Error>>>(
        &self,
        phase: &'static str,
        commands: impl Iterator<Item = C>,
    ) -> Result<Count, Error> {
        self.progress.begin(phase, self.survey.products.len() as u64);
        let mut count = Count::default();
        let mut answers = stream::iter(commands).buffer_unordered(self.concurrency);
        while let Some(there) = answers.try_next().await? {
            count.add(there);
            self.progress.advance();
        }
        self.progress.done();
        Ok(count)
    }

    async fn baskets(
        &self,
        source: Source,
        limit: u64,
        summary: &mut Summary,
    ) -> Result<(), Error> {
        self.progress.begin("orders", self.survey.baskets.min(limit));
        let departments: HashMap<&str, &str> = self
            .survey
            .products
            .iter()
            .map(|product| (product.number.as_str(), product.department()))
            .collect();
        let departments = &departments;
        let baskets = read(source, limit, self.survey.digest.clone(), self.concurrency);
        let placed = baskets.map(|basket| async move {
            let basket = basket?;
            let command = Command::place(&basket, departments)?;
            let answer = self.client.send(&command).await?;
            if answer.status == 201 {
                Ok((basket, answer.replayed))
            } else {
                Err(unexpected(&command, answer))
            }
        });
        let mut placed = placed.buffer_unordered(self.concurrency);
        while let Some((basket, replayed)) = placed.try_next().await? {
            summary.placed(&basket, replayed);
            self.progress.advance();
        }
        self.progress.done();
        Ok(())
    }
}

async fn survey(baskets: &Source, products: &Source) -> Result<Survey, Error> {
    let (baskets, products) = (baskets.clone(), products.clone());
    let file = baskets.to_string();
    task::spawn_blocking(move || Survey::of(&baskets, &products))
        .await
        .map_err(|source| Error::Reader { file, source })?
}

/// The second pass, on a thread of its own that is never further ahead than `ahead` baskets.
fn read(
    source: Source,
    limit: u64,
    digest: String,
    ahead: usize,
) -> impl Stream<Item = Result<Basket, Error>> {
    let (send, mut baskets) = mpsc::channel(ahead);
    task::spawn_blocking(move || {
        if let Err(error) = read_into(&send, &source, limit, &digest) {
            // No receiver to tell: it had an error of its own.
            let _ = send.blocking_send(Err(error));
        }
    });
    stream::poll_fn(move |context| baskets.poll_recv(context))
}

fn read_into(
    send: &mpsc::Sender<Result<Basket, Error>>,
    source: &Source,
    limit: u64,
    digest: &str,
) -> Result<(), Error> {
    let mut reader = Baskets::of(source)?;
    for _ in 0..limit {
        let Some(basket) = reader.next()? else {
            let same = reader.digest() == digest;
            return if same { Ok(()) } else { Err(Error::Changed { file: source.to_string() }) };
        };
        if send.blocking_send(Ok(basket)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn code(answer: &Answer) -> String {
    serde_json::from_str::<Problem>(&answer.body).map(|problem| problem.code).unwrap_or_default()
}

fn unexpected(command: &Command, answer: Answer) -> Error {
    Error::Answer { what: command.what.clone(), status: answer.status, body: answer.body }
}
