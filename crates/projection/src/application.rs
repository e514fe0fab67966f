//! What an application projects: its own projections, and those that every application has.

use std::sync::Arc;

use highwater_tables::migrations;

use crate::{
    builtin::{aggregates::Aggregates, operations::Operations, snapshots::Snapshots},
    runner::{PostgresTx, Projection},
};

/// Every projection of an application, and the tables that they write.
#[derive(Clone)]
pub struct Projections {
    categories: Vec<&'static str>,
    all: Vec<Arc<dyn Projection<PostgresTx>>>,
    /// How many of them every application has.
    builtin: usize,
    tables: migrations::Application,
}

impl Projections {
    /// `aggregates` are the rules of every category, `own` what the application adds.
    pub fn new(
        aggregates: Vec<Box<dyn Aggregates>>,
        own: Vec<Arc<dyn Projection<PostgresTx>>>,
        tables: migrations::Application,
    ) -> Self {
        let categories: Vec<&'static str> =
            aggregates.iter().map(|aggregate| aggregate.category()).collect();
        let builtin: [Arc<dyn Projection<PostgresTx>>; 2] =
            [Arc::new(Snapshots::of(aggregates)), Arc::new(Operations::of(categories.clone()))];
        let count = builtin.len();
        let all = builtin.into_iter().chain(own).collect();
        Self { categories, all, builtin: count, tables }
    }

    /// The categories that are projected, as they were registered.
    pub fn categories(&self) -> &[&'static str] {
        &self.categories
    }

    /// Those that every application has, then its own.
    pub fn all(&self) -> Vec<Arc<dyn Projection<PostgresTx>>> {
        self.all.clone()
    }

    /// What the application adds.
    pub fn own(&self) -> &[Arc<dyn Projection<PostgresTx>>] {
        self.all.get(self.builtin..).unwrap_or_default()
    }

    /// What the application's migrations make.
    pub fn tables(&self) -> &migrations::Application {
        &self.tables
    }
}
