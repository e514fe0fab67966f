//! What was found: lags and owners by partition, totals by projection. As text and as JSON.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use uuid::Uuid;

/// One projection on one partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lag {
    pub category: String,
    pub partition: u32,
    pub projection: String,
    pub generation: i32,
    /// The offset after the last record.
    pub end: u64,
    /// Everything below it is projected; none: nothing was projected yet.
    pub checkpoint: Option<u64>,
    /// Records from the checkpoint to the end, control records counted.
    pub records: u64,
    /// How far the checkpoint lies beyond the end: not 0 means that this is not the log which was
    /// projected.
    pub ahead: u64,
    /// Age of the oldest event or outcome among them; none: there is none.
    pub oldest_seconds: Option<f64>,
}

/// Who owns a partition: as the furthest checkpoint has folded it, and as the last announcement
/// says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    pub category: String,
    pub partition: u32,
    pub epoch: Option<u64>,
    pub writer: Option<Uuid>,
    /// The offset below which that is so: a later fence is not known here.
    pub folded_to: Option<u64>,
    pub announced_epoch: Option<u64>,
    pub announced_instance: Option<Uuid>,
    pub announced_url: Option<String>,
}

/// A projection on all of its partitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Total {
    pub projection: String,
    pub records: u64,
    /// On the partition that has the most.
    pub largest: u64,
    pub oldest_seconds: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// By category, partition, projection, generation.
    pub lags: Vec<Lag>,
    /// By category, partition.
    pub owners: Vec<Owner>,
    /// By projection.
    pub totals: Vec<Total>,
    pub records: u64,
    /// The largest of one projection on one partition.
    pub largest: u64,
}

impl Report {
    pub(super) fn lag(&mut self, lag: Lag) {
        self.lags.push(lag);
    }

    pub(super) fn owner(&mut self, owner: Owner) {
        self.owners.push(owner);
    }

    /// Sorts, and adds up.
    pub(super) fn finish(&mut self) {
        self.lags.sort_by(|a, b| a.key().cmp(&b.key()));
        self.owners.sort_by(|a, b| (&a.category, a.partition).cmp(&(&b.category, b.partition)));
        let mut totals: BTreeMap<&str, Total> = BTreeMap::new();
        // What lies beside the live tables waits for no reader.
        for lag in self.lags.iter().filter(|lag| lag.is_live()) {
            let total = totals.entry(&lag.projection).or_default();
            total.records += lag.records;
            total.largest = total.largest.max(lag.records);
            total.oldest_seconds = older(total.oldest_seconds, lag.oldest_seconds);
        }
        self.totals = totals
            .into_iter()
            .map(|(projection, total)| Total { projection: projection.to_owned(), ..total })
            .collect();
        self.records = self.totals.iter().map(|total| total.records).sum();
        self.largest = self.totals.iter().map(|total| total.largest).max().unwrap_or(0);
    }

    /// Those with more than `most` records, and those that are ahead of the log.
    pub fn beyond(&self, most: u64) -> impl Iterator<Item = &Lag> {
        self.lags.iter().filter(move |lag| lag.is_live() && lag.records > most || lag.ahead > 0)
    }
}

impl Lag {
    fn is_live(&self) -> bool {
        self.generation == highwater_tables::checkpoints::GENERATION
    }

    fn key(&self) -> (&str, u32, &str, i32) {
        (&self.category, self.partition, &self.projection, self.generation)
    }
}

fn older(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (one, other) => one.or(other),
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}/{}", self.projection, self.category, self.partition)?;
        if !self.is_live() {
            write!(f, " (beside the live one)")?;
        }
        match self.ahead {
            0 => write!(f, ": {} records behind the end {}", self.records, self.end),
            ahead => write!(
                f,
                ": {ahead} records ahead of the end {}: this is not the log that was projected",
                self.end
            ),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |names: &mut dyn Iterator<Item = usize>, least: usize| {
            names.max().unwrap_or(0).max(least)
        };
        let category = width(&mut self.lags.iter().map(|lag| lag.category.len()), 8);
        let projection = width(&mut self.lags.iter().map(|lag| lag.projection.len()), 10);
        writeln!(
            f,
            "{:category$} {:>9} {:projection$} {:>12} {:>12} {:>12} {:>12}",
            "category", "partition", "projection", "end", "checkpoint", "behind", "oldest"
        )?;
        for lag in &self.lags {
            let checkpoint =
                lag.checkpoint.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
            let oldest = seconds(lag.oldest_seconds);
            write!(
                f,
                "{:category$} {:>9} {:projection$} {:>12} {checkpoint:>12} ",
                lag.category, lag.partition, lag.projection, lag.end
            )?;
            write!(f, "{:>12} {oldest:>12}", lag.records)?;
            if !lag.is_live() {
                write!(f, " beside the live one")?;
            }
            writeln!(f, "{}", if lag.ahead > 0 { " AHEAD OF THE LOG" } else { "" })?;
        }
        writeln!(
            f,
            "\n{:projection$} {:>12} {:>12} {:>12}",
            "projection", "behind", "largest", "oldest"
        )?;
        for total in &self.totals {
            let oldest = seconds(total.oldest_seconds);
            writeln!(
                f,
                "{:projection$} {:>12} {:>12} {oldest:>12}",
                total.projection, total.records, total.largest
            )?;
        }
        writeln!(f, "{:projection$} {:>12} {:>12}", "all", self.records, self.largest)?;
        writeln!(
            f,
            "\n{:category$} {:>9} {:>6} {:36} {:>12} {:>11} owner, as the announcement says",
            "category", "partition", "epoch", "writer", "as folded to", "announcement's epoch"
        )?;
        for owner in &self.owners {
            let number = |number: Option<u64>| {
                number.map_or_else(|| "none".to_owned(), |number| number.to_string())
            };
            let writer =
                owner.writer.map_or_else(|| "none".to_owned(), |writer| writer.to_string());
            let (epoch, to, announced) =
                (number(owner.epoch), number(owner.folded_to), number(owner.announced_epoch));
            let url = owner.announced_url.as_deref().unwrap_or("none");
            writeln!(
                f,
                "{:category$} {:>9} {epoch:>6} {writer:36} {to:>12} {announced:>12} {url}",
                owner.category, owner.partition
            )?;
        }
        Ok(())
    }
}

fn seconds(age: Option<f64>) -> String {
    age.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(
        category: &str,
        partition: u32,
        projection: &str,
        end: u64,
        checkpoint: Option<u64>,
        oldest_seconds: Option<f64>,
    ) -> Lag {
        let at = checkpoint.unwrap_or(0);
        Lag {
            category: category.to_owned(),
            partition,
            projection: projection.to_owned(),
            generation: 1,
            end,
            checkpoint,
            records: end.saturating_sub(at),
            ahead: at.saturating_sub(end),
            oldest_seconds,
        }
    }

    #[test]
    fn lags_are_sorted_and_added_up() {
        let mut report = Report::default();
        report.lag(lag("note", 1, "pages", 10, Some(4), Some(2.5)));
        report.lag(lag("note", 0, "pages", 7, Some(7), None));
        report.lag(lag("mark", 0, "index", 9, None, Some(60.0)));
        report.finish();
        let places: Vec<_> =
            report.lags.iter().map(|lag| (lag.category.as_str(), lag.partition)).collect();
        assert_eq!(places, [("mark", 0), ("note", 0), ("note", 1)]);
        let totals: Vec<_> = report
            .totals
            .iter()
            .map(|t| (t.projection.as_str(), t.records, t.largest, t.oldest_seconds))
            .collect();
        assert_eq!(totals, [("index", 9, 9, Some(60.0)), ("pages", 6, 6, Some(2.5))]);
        assert_eq!((report.records, report.largest), (15, 9));
        assert_eq!(
            report.beyond(6).map(ToString::to_string).collect::<Vec<_>>(),
            ["index on mark/0: 9 records behind the end 9"]
        );
        let text = report.to_string();
        for shown in ["none", "60.0 s", " -\n", "2.5 s"] {
            assert!(text.contains(shown), "{shown}: {text}");
        }
    }

    #[test]
    fn a_checkpoint_ahead_of_the_log_is_beyond_any_limit() {
        let mut report = Report::default();
        report.lag(lag("note", 1, "pages", 10, Some(14), None));
        report.finish();
        assert_eq!(report.records, 0);
        assert!(
            report
                .beyond(u64::MAX)
                .next()
                .is_some_and(|lag| lag.to_string().contains("4 records ahead"))
        );
    }
}
