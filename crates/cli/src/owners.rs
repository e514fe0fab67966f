//! Which instance owns each partition and which did before, as the `owners` topic says. Shows
//! announcements; decides nothing and changes nothing.

use std::fmt;

use highwater_command::owner::{announcements::Announcement, term::Term};
use highwater_log::RawReader;
use serde::Serialize;

use crate::{cloudevent::Source, lag};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By category, partition.
    pub partitions: Vec<OwnedPartition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnedPartition {
    pub category: String,
    pub partition: u32,
    /// The last announcement; none: no owner has ever said anything.
    pub announcement: Option<Announcement>,
    /// The newest first.
    pub terms: Vec<Term>,
}

/// Every partition of events below `prefix`, with the last `history` terms.
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
            let terms = said.terms.remove(&place).unwrap_or_default();
            report.partitions.push(OwnedPartition {
                category: source.category.clone(),
                partition: partition.index,
                announcement: said.announcements.remove(&place),
                terms: terms.into_values().rev().take(history).collect(),
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
            if owned.terms.is_empty() {
                let epoch = owned.announcement.as_ref().map_or_else(
                    || "none".to_owned(),
                    |announcement| announcement.epoch.to_string(),
                );
                let url = owned
                    .announcement
                    .as_ref()
                    .map_or("none", |announcement| announcement.url.as_str());
                writeln!(
                    f,
                    "{:category$} {:>9} {epoch:>6} {:27} {url}",
                    owned.category, owned.partition, "no history"
                )?;
            }
            for term in &owned.terms {
                let [until, ended] =
                    [&term.until, &term.ended].map(|end| end.as_deref().unwrap_or("-"));
                write!(
                    f,
                    "{:category$} {:>9} {:>6} ",
                    owned.category, owned.partition, term.epoch
                )?;
                write!(f, "{:27} {until:27} {:15} {ended:15} ", term.since, term.why)?;
                writeln!(f, "{} {} {}", term.instance, term.writer, term.url)?;
            }
        }
        Ok(())
    }
}
