//! What an application shows: its views, each at its path.

use axum::{Router, routing::get};
use highwater_tables::migrations;

use crate::{
    App,
    list::{self, List},
    resource::{self, View},
};

/// Every view of an application, and the tables that they read.
#[derive(Clone, Default)]
pub struct Views {
    routes: Router<App>,
    /// Projection and category of the views of single resources, which are kept in memory.
    kept: Vec<(&'static str, &'static str)>,
    categories: Vec<&'static str>,
    tables: Option<migrations::Application>,
}

impl Views {
    /// Of an application: `categories` are those that commands are sent to.
    #[must_use]
    pub fn of(self, categories: Vec<&'static str>, tables: migrations::Application) -> Self {
        Self { categories, tables: Some(tables), ..self }
    }

    /// Shows single resources at `path`, which ends with `{id}`.
    #[must_use]
    pub fn resource<V: View>(mut self, path: &str) -> Self {
        self.kept.push((V::PROJECTION, V::CATEGORY));
        self.route(path, get(resource::get::<V>))
    }

    /// Shows a list at `path`.
    #[must_use]
    pub fn list<L: List>(self, path: &str) -> Self {
        self.route(path, get(list::get::<L>))
    }

    fn route(mut self, path: &str, route: axum::routing::MethodRouter<App>) -> Self {
        self.routes = self.routes.route(path, route);
        self
    }

    pub(crate) fn routes(&self) -> Router<App> {
        self.routes.clone()
    }

    pub(crate) fn kept(&self) -> &[(&'static str, &'static str)] {
        &self.kept
    }

    pub(crate) fn categories(&self) -> &[&'static str] {
        &self.categories
    }

    /// What the application's migrations make.
    pub fn tables(&self) -> Option<&migrations::Application> {
        self.tables.as_ref()
    }
}
