//! Who owns each partition and who did before, as the `owners` topic says. Shows hints; decides
//! nothing and changes nothing.

use std::fmt;

use highwater_command::owner::{hints::Hint, tenure::Tenure};
use highwater_log::RawReader;
use serde::Serialize;

use crate::{cloudevent::Source, lag};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By category, partition.
    pub partitions: Vec<Owned>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owned {
    pub category: String,
    pub partition: u32,
    /// The last hint; none: nobody has ever said anything.
    pub hint: Option<Hint>,
    /// The newest first.
    pub tenures: Vec<Tenure>,
}

/// Every partition of events below `prefix`, with the last `history` tenures.
pub async fn read(
    log: &dyn RawReader,
    prefix: &str,
    history: usize,
) -> Result<Report, highwater_log::Error> {
    let mut said = lag::owners::read(log, prefix).await?;
    let mut report = Report::default();
    for topic in log.topics().await? {
        let Some(source) = Source::of(&topic.name).filter(|source| source.prefix == prefix) else {
            continue;
        };
        for partition in topic.each() {
            let place = (source.category.clone(), partition.index);
            let tenures = said.tenures.remove(&place).unwrap_or_default();
            report.partitions.push(Owned {
                category: source.category.clone(),
                partition: partition.index,
                hint: said.hints.remove(&place),
                tenures: tenures.into_values().rev().take(history).collect(),
            });
        }
    }
    report.partitions.sort_by(|a, b| (&a.category, a.partition).cmp(&(&b.category, b.partition)));
    Ok(report)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let category =
            self.partitions.iter().map(|owned| owned.category.len()).max().unwrap_or(0).max(8);
        writeln!(
            f,
            "{:category$} {:>9} {:>6} {:27} {:27} {:15} {:15} {:36} {:36} url",
            "category",
            "partition",
            "epoch",
            "since",
            "until",
            "why",
            "ended",
            "instance",
            "writer"
        )?;
        for owned in &self.partitions {
            if owned.tenures.is_empty() {
                let epoch = owned
                    .hint
                    .as_ref()
                    .map_or_else(|| "none".to_owned(), |hint| hint.epoch.to_string());
                let url = owned.hint.as_ref().map_or("none", |hint| hint.url.as_str());
                writeln!(
                    f,
                    "{:category$} {:>9} {epoch:>6} {:27} {url}",
                    owned.category, owned.partition, "no history"
                )?;
            }
            for tenure in &owned.tenures {
                let [until, ended] =
                    [&tenure.until, &tenure.ended].map(|end| end.as_deref().unwrap_or("-"));
                write!(
                    f,
                    "{:category$} {:>9} {:>6} ",
                    owned.category, owned.partition, tenure.epoch
                )?;
                write!(f, "{:27} {until:27} {:15} {ended:15} ", tenure.since, tenure.why)?;
                writeln!(f, "{} {} {}", tenure.instance, tenure.writer, tenure.url)?;
            }
        }
        Ok(())
    }
}
