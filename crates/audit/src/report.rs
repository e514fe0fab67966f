//! What an audit found: counts by partition and in total, rows by table, and the differences, each
//! with its place. As text and as JSON.

use std::{fmt, ops::AddAssign};

use highwater_log::Partition;
use serde::Serialize;

use super::fault::{Fault, RowFault};

/// Differences that are listed, and aggregates that are parked; beyond it they are only counted.
const LISTED_DIFFERENCES: usize = 1_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub records: u64,
    pub aggregates: u64,
    /// Commits, rejected and unchanged together.
    pub commands: u64,
    pub commits: u64,
    /// Those of commits.
    pub events: u64,
    pub rejected: u64,
    pub unchanged: u64,
    pub fences: u64,
    pub barriers: u64,
    pub sealed: u64,
    pub unknown_kinds: u64,
    /// Dropped by the fence of the next writer: the one before died in the middle.
    pub unfinished_commits: u64,
    /// Not complete where the audit ended: still being written, or to be dropped by the next fence.
    pub open_commits: u64,
    pub void_unreadable: u64,
    pub void_after_sealed: u64,
    pub void_stale_fences: u64,
    pub void_strangers: u64,
    pub void_after_hole: u64,
    pub void_repeats: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    pub topic: String,
    pub partition: u32,
    /// The offset up to which it was read.
    pub end: u64,
    /// How many writers it had.
    pub epoch: u64,
    #[serde(flatten)]
    pub counts: Counts,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `topic/partition@offset`, or `table/key`.
    pub at: String,
    pub what: String,
    #[serde(skip)]
    pub fault: Fault,
}

/// What the rows of a table were compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Account {
    /// A second account, which shares nothing with the projection.
    Checked,
    /// The projection's own fold once more: it finds what was changed, lost or projected twice.
    Replayed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableReport {
    pub table: &'static str,
    pub rows: u64,
    pub differences: u64,
    pub account: Account,
}

/// An aggregate that a projection parked: its tables were compared without what follows of it from
/// `from_offset` on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parked {
    pub projection: String,
    pub aggregate: String,
    /// `category/partition`.
    pub partition: String,
    pub from_offset: u64,
    /// It was given up.
    pub discarded: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub partitions: Vec<PartitionReport>,
    pub total: Counts,
    pub tables: Vec<TableReport>,
    /// Projections that have no account: what they wrote was not compared with anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<&'static str>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tables_not_audited: Option<String>,
    /// The first 1,000. They are no differences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<Parked>,
    pub parked_found: u64,
    /// The first 1,000.
    pub differences: Vec<Difference>,
    pub differences_found: u64,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.differences_found == 0
    }

    pub(super) fn partition(&mut self, partition: PartitionReport) {
        self.total += partition.counts;
        self.partitions.push(partition);
    }

    pub(super) fn difference(&mut self, partition: &Partition, offset: u64, fault: Fault) {
        self.list(format!("{partition}@{offset}"), fault);
    }

    pub(super) fn table(&mut self, name: &'static str) -> &mut TableReport {
        let at = self.tables.iter().position(|table| table.table == name).unwrap_or_else(|| {
            let account = Account::Checked;
            self.tables.push(TableReport { table: name, rows: 0, differences: 0, account });
            self.tables.len() - 1
        });
        &mut self.tables[at]
    }

    pub(super) fn rows(&mut self, table: &'static str, more: u64) {
        self.table(table).rows += more;
    }

    pub(super) fn row_difference(&mut self, table: &'static str, key: &str, fault: RowFault) {
        self.table(table).differences += 1;
        self.list(format!("{table}/{key}"), Fault::Row(fault));
    }

    pub(super) fn parked(&mut self, parked: Parked) {
        self.parked_found += 1;
        if self.parked.len() < LISTED_DIFFERENCES {
            self.parked.push(parked);
        }
    }

    /// Adds a table that was compared with a replay of its projection: how many rows it has, and
    /// which differ.
    pub fn replayed(&mut self, table: &'static str, rows: u64, differ: Vec<(String, RowFault)>) {
        let reported = self.table(table);
        reported.rows += rows;
        reported.account = Account::Replayed;
        for (row, fault) in differ {
            self.row_difference(table, &row, fault);
        }
    }

    fn list(&mut self, at: String, fault: Fault) {
        self.differences_found += 1;
        if self.differences.len() < LISTED_DIFFERENCES {
            self.differences.push(Difference { at, what: fault.to_string(), fault });
        }
    }
}

impl Counts {
    /// Void records, whatever the reason.
    pub fn voids(&self) -> u64 {
        self.reasons().iter().map(|(_, count)| count).sum()
    }

    fn reasons(&self) -> [(&'static str, u64); 6] {
        [
            ("unreadable", self.void_unreadable),
            ("after sealed", self.void_after_sealed),
            ("stale fence", self.void_stale_fences),
            ("older or other writer", self.void_strangers),
            ("after a hole", self.void_after_hole),
            ("repeated", self.void_repeats),
        ]
    }

    fn each(&mut self) -> [&mut u64; 19] {
        [
            &mut self.records,
            &mut self.aggregates,
            &mut self.commands,
            &mut self.commits,
            &mut self.events,
            &mut self.rejected,
            &mut self.unchanged,
            &mut self.fences,
            &mut self.barriers,
            &mut self.sealed,
            &mut self.unknown_kinds,
            &mut self.unfinished_commits,
            &mut self.open_commits,
            &mut self.void_unreadable,
            &mut self.void_after_sealed,
            &mut self.void_stale_fences,
            &mut self.void_strangers,
            &mut self.void_after_hole,
            &mut self.void_repeats,
        ]
    }

    /// What the table shows, in this sequence.
    fn row(&self) -> [u64; 9] {
        [
            self.records,
            self.events,
            self.commits,
            self.commands,
            self.rejected,
            self.unchanged,
            self.voids(),
            self.fences,
            self.barriers,
        ]
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, mut other: Self) {
        for (sum, count) in self.each().into_iter().zip(other.each()) {
            *sum += *count;
        }
    }
}

const COLUMNS: [&str; 10] = [
    "partition",
    "records",
    "events",
    "commits",
    "commands",
    "rejected",
    "unchanged",
    "void",
    "fences",
    "barriers",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |name: String, counts: &Counts| {
            std::iter::once(name).chain(counts.row().map(|n| n.to_string())).collect::<Vec<_>>()
        };
        let mut rows = vec![COLUMNS.map(str::to_owned).to_vec()];
        rows.extend(
            self.partitions
                .iter()
                .map(|p| named(format!("{}/{}", p.topic, p.partition), &p.counts)),
        );
        rows.push(named("total".to_owned(), &self.total));
        let widths: Vec<usize> = (0..COLUMNS.len())
            .map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0))
            .collect();
        for row in &rows {
            write!(f, "{:<width$}", row[0], width = widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        self.write_rest(f)
    }
}

impl Report {
    fn write_rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = &self.total;
        for (reason, count) in total.reasons().iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "void, {reason}: {count}")?;
        }
        let others = [
            ("aggregates", total.aggregates),
            ("sealed partitions", total.sealed),
            ("records of an unknown kind", total.unknown_kinds),
            ("commits dropped by the next writer's fence", total.unfinished_commits),
            ("commits still open at the end", total.open_commits),
        ];
        for (what, count) in others.iter().filter(|(_, count)| *count > 0) {
            writeln!(f, "{what}: {count}")?;
        }
        self.write_tables(f)?;
        for difference in &self.differences {
            writeln!(f, "DIFFERENCE {}: {}", difference.at, difference.what)?;
        }
        match self.differences_found {
            0 if self.parked_found > 0 => {
                writeln!(f, "clean but for what is parked: no difference found")
            }
            0 => writeln!(f, "clean: no difference found"),
            n if n > self.differences.len() as u64 => writeln!(
                f,
                "{n} differences found, the first {} are listed",
                self.differences.len()
            ),
            n => writeln!(f, "{n} differences found"),
        }
    }

    fn write_tables(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.tables_not_audited {
            writeln!(f, "tables not audited: {why}")?;
        }
        if self.tables.is_empty() {
            return Ok(());
        }
        writeln!(f, "{:<16}  {:>12}  {:>12}  account", "table", "rows", "differences")?;
        for TableReport { table, rows, differences, account } in &self.tables {
            let account = match account {
                Account::Checked => "checked",
                Account::Replayed => "replayed",
            };
            writeln!(f, "{table:<16}  {rows:>12}  {differences:>12}  {account}")?;
        }
        for parked in &self.parked {
            let Parked { projection, aggregate, partition, from_offset, discarded } = parked;
            let what = if *discarded { "is given up" } else { "waits" };
            writeln!(
                f,
                "PARKED {projection}/{aggregate}: what follows from offset {from_offset} of \
                 {partition} on {what}"
            )?;
        }
        for projection in &self.not_compared {
            writeln!(
                f,
                "NOT COMPARED: the projection {projection} has no account; --scratch names a \
                 database that it is replayed into"
            )?;
        }
        Ok(())
    }
}
