//! The lines of the log on their way to stderr: a bounded queue, and one thread that writes. A
//! caller that logs never waits: what finds no room is dropped and counted.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use metrics::Counter;

/// Besides their bytes; only very short lines come so far.
const QUEUED_LINES: usize = 16_384;
const CUT: &[u8] = b" [cut]\n";

/// How much may wait, and how long a line may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub queue_bytes: usize,
    pub line_bytes: usize,
}

/// Clones share the queue.
#[derive(Clone)]
pub struct Lines {
    queue: SyncSender<QueueItem>,
    queued_bytes: Arc<AtomicUsize>,
    bounds: Bounds,
    dropped: Counter,
}

enum QueueItem {
    Line(Vec<u8>),
    /// Everything before it is written.
    Written(SyncSender<()>),
}

impl Lines {
    pub fn to(out: impl Write + Send + 'static, bounds: Bounds) -> io::Result<Self> {
        let (queue, queued) = sync_channel(QUEUED_LINES);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&queued_bytes);
        std::thread::Builder::new()
            .name("log-lines".to_owned())
            .spawn(move || write(out, &queued, &written))?;
        let dropped = metrics::counter!("highwater_log_lines_dropped_total");
        Ok(Self { queue, queued_bytes, bounds, dropped })
    }

    pub fn put(&self, line: &[u8]) {
        let line = cut(line, self.bounds.line_bytes);
        let bytes = line.len();
        let add =
            |queued: usize| queued.checked_add(bytes).filter(|sum| *sum <= self.bounds.queue_bytes);
        if self.queued_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_err() {
            return self.dropped.increment(1);
        }
        if self.queue.try_send(QueueItem::Line(line)).is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.dropped.increment(1);
        }
    }

    /// Waits until what was put is written, or for so long. Blocks: for the end of a process.
    pub fn flush(&self, within: Duration) {
        let (done, written) = sync_channel(1);
        // A queue that is full has no reader: what cannot be said is lost.
        if self.queue.try_send(QueueItem::Written(done)).is_ok() {
            let _ = written.recv_timeout(within);
        }
    }
}

/// One line, as the log writes it.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn cut(line: &[u8], longest: usize) -> Vec<u8> {
    if line.len() <= longest {
        return line.to_vec();
    }
    let kept = longest.saturating_sub(CUT.len());
    // Not within a character.
    let end = (0..=kept)
        .rev()
        .find(|at| line.get(*at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000))
        .unwrap_or(0);
    [&line[..end], CUT].concat()
}

fn write(mut out: impl Write, queued: &Receiver<QueueItem>, queued_bytes: &AtomicUsize) {
    for next in queued {
        match next {
            QueueItem::Line(line) => {
                // There is no other place to report an error.
                let _ = out.write_all(&line);
                queued_bytes.fetch_sub(line.len(), Ordering::AcqRel);
            }
            QueueItem::Written(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read};

    use super::*;

    const BOUNDS: Bounds = Bounds { queue_bytes: 1 << 20, line_bytes: 100 };

    fn piped(bounds: Bounds) -> io::Result<(PipeReader, Lines)> {
        let (reader, writer) = io::pipe()?;
        Ok((reader, Lines::to(writer, bounds)?))
    }

    #[test]
    fn lines_come_in_their_sequence_and_the_last_ones_before_the_end() -> io::Result<()> {
        let (mut reader, lines) = piped(BOUNDS)?;
        for n in 0..100 {
            lines.put(format!("line {n}\n").as_bytes());
        }
        lines.flush(Duration::from_secs(20));
        drop(lines);
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        assert_eq!(text, (0..100).map(|n| format!("line {n}\n")).collect::<String>());
        Ok(())
    }

    #[test]
    fn a_pipe_that_is_not_read_holds_up_no_caller_and_what_is_kept_is_bounded() -> io::Result<()> {
        let (_reader, lines) = piped(BOUNDS)?;
        // Twenty times what fits into queue and pipe; would hang here.
        for _ in 0..400_000 {
            lines.put(&[b'x'; 99]);
        }
        assert!(lines.queued_bytes.load(Ordering::Acquire) <= BOUNDS.queue_bytes);
        lines.flush(Duration::from_millis(10));
        Ok(())
    }

    #[test]
    fn a_long_line_is_cut_between_characters() -> io::Result<()> {
        let (mut reader, lines) = piped(BOUNDS)?;
        lines.put("ä".repeat(100).as_bytes());
        lines.put(b"short\n");
        lines.flush(Duration::from_secs(20));
        drop(lines);
        // Which also says that it is text.
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        let (long, rest) = text.split_at(text.find('\n').map_or(0, |end| end + 1));
        assert!(
            long.len() <= BOUNDS.line_bytes && long.as_bytes().ends_with(CUT),
            "{} bytes",
            long.len()
        );
        assert_eq!(rest, "short\n");
        Ok(())
    }
}
