//! `attack`: what honest callers of a running `up` hear while one hostile client sends little in
//! costly forms. One run: before each form a quiet span, so that a form is compared with what came
//! right before it.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    contender::Error,
    store::{
        honest::{self, HonestTraffic},
        hostile::{Form, Hostile},
    },
};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The binary whose `up` is attacked
    #[arg(long)]
    program: PathBuf,
    /// What one hostile client sends a second
    #[arg(long, default_value_t = 100_000)]
    bytes_per_second: u64,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Where the hostile client comes from; the honest ones come from 127.0.0.1
    #[arg(long, default_value = "127.0.0.1")]
    from: IpAddr,
    /// Of the honest clients, in all: half commands, half reads of what was commanded
    #[arg(long, default_value_t = 100)]
    requests_per_second: u32,
    /// Rows of the list that is asked for
    #[arg(long, default_value_t = 20_000)]
    rows: usize,
    /// Of a span, quiet or not
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Only these forms, as `C1,W2`
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

pub async fn run(options: Options) -> Result<(), Error> {
    let up = Up::start(&options.program).await?;
    let rows = honest::seed(up.address, options.rows).await?;
    println!(
        "One client at {} of {} B/s over {} connections, {} honest requests a second, {rows} rows; \
         p99 of honest requests.\n",
        options.from, options.bytes_per_second, options.connections, options.requests_per_second
    );
    println!(
        "| form | p99 quiet | p99 under it | ratio | failed | /livez p99, longest | memory before, \
         most, after (MB) | sent |\n|---|---|---|---|---|---|---|---|"
    );
    let mut quiet = Vec::new();
    for form in Form::ALL {
        if options.only.is_empty() || options.only.iter().any(|name| name == form.name()) {
            let (heard, row) = one(&options, &up, form).await?;
            println!("{row}");
            quiet.push(heard.p99);
        }
    }
    if let (Some(least), Some(most)) = (quiet.iter().min(), quiet.iter().max())
        && *most > *least * RESTLESS
    {
        println!(
            "\nThe quiet p99s lie between {least:.1?} and {most:.1?}: the machine was not at rest, \
             and these ratios say nothing."
        );
    }
    Ok(())
}

/// A quiet span so many times as slow as another was disturbed by something else.
const RESTLESS: u32 = 3;

/// What was heard in quiet, and the row.
async fn one(options: &Options, up: &Up, form: Form) -> Result<(HonestTraffic, String), Error> {
    let span = Duration::from_secs(options.seconds);
    let listen = || honest::listen(up.address, options.requests_per_second, span);
    let quiet = listen().await?;
    let before = up.resident_megabytes()?;
    let hostile = Hostile::begin(
        form,
        up.address,
        options.from,
        options.connections,
        options.bytes_per_second,
    );
    let (under, most) = tokio::join!(listen(), up.most_resident_megabytes(span));
    let sent = hostile.end().await;
    let under = under?;
    tokio::time::sleep(AFTERWARDS).await;
    let after = up.resident_megabytes()?;
    let row = row(form, &quiet, &under, (before, most, after), sent);
    Ok((quiet, row))
}

/// How long memory may take to come back.
const AFTERWARDS: Duration = Duration::from_secs(10);

fn row(
    form: Form,
    quiet: &HonestTraffic,
    under: &HonestTraffic,
    (before, most, after): (u64, u64, u64),
    sent: u64,
) -> String {
    let ms = |at: Duration| at.as_secs_f64() * 1e3;
    format!(
        "| {} | {:.1} ms | {:.1} ms | {:.2} | {} of {} | {:.1} ms, {:.1} ms | {before}, {most}, \
         {after} | {} kB |",
        form.name(),
        ms(quiet.p99),
        ms(under.p99),
        ms(under.p99) / ms(quiet.p99).max(0.001),
        under.failed,
        under.answered + under.failed,
        ms(under.livez_p99),
        ms(under.livez_longest),
        sent / 1_000
    )
}

/// `up` on a folder of its own; stopped when it is dropped.
struct Up {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Up {
    async fn start(program: &PathBuf) -> Result<Self, Error> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let folder = std::env::temp_dir().join(format!("highwater-attack-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let log = std::fs::File::create(folder.join("up.log"))?;
        let mut command = Command::new(program);
        command
            .arg("up")
            .arg("--data")
            .arg(folder.join("data"))
            .arg("--listen")
            .arg(address.to_string())
            .current_dir(&folder);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let up = Self { child, folder, address };
        for _ in 0..LOOKS {
            if honest::is_ready(address).await {
                return Ok(up);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(Error::NotReady("up".to_owned(), up.folder.join("up.log").display().to_string()))
    }

    fn resident_megabytes(&self) -> Result<u64, Error> {
        let pages = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let resident: u64 =
            pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        Ok(resident * 4096 / 1_000_000)
    }

    async fn most_resident_megabytes(&self, span: Duration) -> u64 {
        let until = tokio::time::Instant::now() + span;
        let mut most = 0;
        while tokio::time::Instant::now() < until {
            most = most.max(self.resident_megabytes().unwrap_or(0));
            tokio::time::sleep(LOOK_EVERY).await;
        }
        most
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A minute of looks.
const LOOKS: u32 = 600;

impl Drop for Up {
    fn drop(&mut self) {
        // Its private Postgres ends with it when it is asked to end.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        // It is ours, and holds nothing that is needed.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
