//! Real brokers, started through `bin/kafka`, and their end: also when this process panics or is
//! killed.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The shell outlives this process, however that ends: then its standard input does, and it ends
/// what is left. The services write their process ids below `$2` and take them away again when they
/// have reaped the process. Logs stay.
const KEEPER: &str = r#"
trap '' INT TERM
if "$0" start "$1" "$3" broker.session.timeout.ms=3000 broker.heartbeat.interval.ms=500; then
    cat >/dev/null
fi
for file in "$2"/*; do [ -e "$file" ] && kill -9 "${file##*/}" 2>/dev/null; done
for i in $(seq "$3"); do "$0" kill "$1" "$i" 2>/dev/null; done
rm -rf "$1" "$2" "${2%/*}/bin"
"#;

const HEAP: &str = "384m";
/// The second compiler pays off after minutes, and until then takes the processor from every other
/// process.
const OPTIONS: &str = "-XX:TieredStopAtLevel=1";

pub struct Kafka {
    pub bootstrap: String,
    dir: PathBuf,
    brokers: usize,
    keeper: Child,
}

impl Kafka {
    /// Blocks until the brokers answer.
    pub fn start(dir: &Path, pids: &Path, brokers: usize) -> Self {
        let mut keeper = Command::new("bash")
            .args(["-c", KEEPER])
            .arg(script())
            .args([dir, pids])
            .arg(brokers.to_string())
            .env("KAFKA_HEAP", HEAP)
            .env("KAFKA_OPTS", OPTIONS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("bash");
        let mut bootstrap = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut bootstrap).unwrap();
        let started =
            Self { bootstrap: bootstrap.trim().to_owned(), dir: dir.to_owned(), brokers, keeper };
        assert_eq!(
            started.bootstrap.split(',').count(),
            brokers,
            "bin/kafka did not start the brokers; see its output above"
        );
        started
    }
}

impl Kafka {
    /// kill -9 of the `number`th broker, counted round and round.
    pub async fn kill(&self, number: usize) {
        self.tell("kill", number).await;
    }

    /// Starts it again.
    pub async fn restart(&self, number: usize) {
        self.tell("restart", number).await;
    }

    async fn tell(&self, what: &'static str, number: usize) {
        let (dir, broker) = (self.dir.clone(), (number % self.brokers + 1).to_string());
        let mut command = Command::new(script());
        command
            .arg(what)
            .arg(dir)
            .arg(broker)
            .env("KAFKA_HEAP", HEAP)
            .env("KAFKA_OPTS", OPTIONS)
            .stdout(Stdio::null());
        let told = tokio::task::spawn_blocking(move || command.status()).await.unwrap();
        assert!(told.unwrap().success(), "bin/kafka {what} failed");
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bin/kafka")
}

impl Drop for Kafka {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
