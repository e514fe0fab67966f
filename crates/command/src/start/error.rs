//! Why command-api does not start, and whether the same start may succeed later.

use highwater_http::server;
use highwater_runtime::{
    identity,
    process::{Exit, Exits},
};
use highwater_tables::migrations;

use crate::{
    category,
    owner::{address::Unusable, announcements},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(Box<highwater_runtime::config::Error>),
    #[error("owner.database.url is not usable: {0}")]
    Url(sqlx::Error),
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error(transparent)]
    Announcements(#[from] announcements::Error),
    #[error(transparent)]
    Tables(#[from] migrations::Error),
    #[error("identity.keys names no file of deployment keys: set it, or HIGHWATER__IDENTITY__KEYS")]
    NoKeys,
    #[error(transparent)]
    Keys(#[from] identity::Error),
    #[error(transparent)]
    Category(#[from] category::Error),
    #[error("the peer client cannot be made: {0}")]
    Peers(#[from] reqwest::Error),
    #[error(
        "log.queue_kbytes, log.producers, owner.in_flight_bytes, queue.in_flight_bytes: each of \
         {partitions} partitions gets {share} bytes, and the largest commit has {least}; they and \
         {queue} bytes for the command queue share 80 % of the producers' queues ({room} bytes)"
    )]
    Budget { partitions: u64, share: usize, least: usize, queue: u64, room: u64 },
    #[error(
        "peers.advertise is {advertise:?}, and must be http://host:port or https://host:port: {why}"
    )]
    Advertise { advertise: String, why: Unusable },
    #[error(
        "owner.admin_listen is {0:?}, and must be an address such as 127.0.0.1:9090, or nothing"
    )]
    AdminListen(String),
    #[error("owner.admin_listen: {0}")]
    Admin(#[from] server::Error),
    #[error("{setting} is {found}, and may be 1 to {most}")]
    Limit { setting: &'static str, found: u64, most: u64 },
}

impl Exits for Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_)
            | Self::Url(_)
            | Self::NoKeys
            | Self::Keys(_)
            | Self::Budget { .. }
            | Self::Limit { .. } => Exit::Usage,
            Self::Advertise { .. }
            | Self::AdminListen(_)
            | Self::Admin(server::Error::NotLoopback { .. }) => Exit::Usage,
            Self::Log(highwater_log::Error::Setting(_)) => Exit::Usage,
            Self::Tables(error) if error.is_unusable() => Exit::Usage,
            Self::Tables(error) if error.is_unreachable() => Exit::Unreachable,
            error if error.may_pass() => Exit::Unreachable,
            Self::Log(_) | Self::Announcements(_) | Self::Tables(_) => Exit::Failed,
            Self::Category(_) | Self::Peers(_) | Self::Admin(_) => Exit::Failed,
        }
    }
}

impl Error {
    /// Whether the same start may succeed later although nothing is changed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Log(error) | Self::Announcements(announcements::Error::Log(error)) => {
                error.may_pass()
            }
            Self::Announcements(announcements::Error::Unread(_)) => true,
            Self::Tables(error) => error.may_pass(),
            _ => false,
        }
    }
}

impl From<highwater_runtime::config::Error> for Error {
    fn from(error: highwater_runtime::config::Error) -> Self {
        Self::Config(Box::new(error))
    }
}
