//! Routes of one category: from request to submission, and from answer to response.
//!
//! | module | what it owns |
//! |---|---|
//! | `create` | `POST /v1/{collection}` |
//! | `act` | `POST /v1/{collection}/{id}/{command}` |
//! | `arrival` | who sends it: a client, or another instance, which proves it |
//! | `request` | headers and body, checked in the sequence of docs/http.md |
//! | `execute` | the way to the owner: here, or one hop away |
//! | `figures` | counters of what came of commands |
//! | `ending` | how a command came to its end in this process |
//! | `answer` | the one mapping from answers to responses |

mod act;
mod answer;
mod arrival;
mod create;
mod ending;
mod execute;
mod figures;
mod request;

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::post};
pub use figures::Figures;
use highwater_runtime::{context::Context, identity::DeploymentKeys};
use tokio::sync::Semaphore;

use crate::{
    category::{Category, Commands},
    command_queue::CommandQueue,
    owner::{announcements::Announcements, forward::Forwarder, table::Table},
    settings::OwnerSettings,
};

/// What the handlers of a category need.
pub struct App<C: Category> {
    /// As in routes: the plural.
    pub collection: &'static str,
    pub ctx: Context,
    pub keys: Arc<DeploymentKeys>,
    pub commands: Arc<Commands>,
    pub table: Arc<Table<C::Command>>,
    pub announcements: Arc<Announcements>,
    pub forwarder: Arc<Forwarder>,
    /// How old, by the clocks of both, a command may be that another instance sent on.
    pub hop_age: Duration,
    pub partitions: u32,
    pub settings: OwnerSettings,
    /// `owner.waiting_limit`.
    pub waiting: Semaphore,
    pub command_queue: CommandQueue,
    pub figures: Figures,
}

pub fn routes<C: Category>(app: Arc<App<C>>) -> Router {
    let collection = format!("/v1/{}", app.collection);
    Router::new()
        .route(&collection, post(create::handle::<C>))
        .route(&format!("{collection}/{{id}}/{{command}}"), post(act::handle::<C>))
        .with_state(app)
}
