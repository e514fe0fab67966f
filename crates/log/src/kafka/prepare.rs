//! Creates missing topics with the promised settings, and reads back for all of them what the
//! brokers promise. Changes nothing that is there.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    config::FromClientConfig,
    error::RDKafkaErrorCode,
    metadata::MetadataTopic,
};
use tokio::time::Instant;

use super::{
    Settings,
    passing::refused,
    promises::{self, TopicState, broken, created},
    unreachable,
};
use crate::log::{Error, Topic};

const RETRY: Duration = Duration::from_millis(50);

pub async fn prepare(settings: &Settings, topics: &[Topic]) -> Result<(), Error> {
    let admin = AdminClient::from_config(&settings.client())
        .map_err(|error| Error::Refused(error.to_string()))?;
    let admin = Arc::new(admin);
    let cluster = look(&admin, settings.request_timeout).await?;
    check_sessions(&admin, settings, &cluster).await?;
    let missing: Vec<_> = topics
        .iter()
        .filter(|topic| !cluster.topics.iter().any(|(name, _)| **name == *topic.name))
        .collect();
    create(&admin, settings, &missing, cluster.brokers.len()).await?;
    let cluster = settled(&admin, settings, topics).await?;
    let configs = describe(&admin, settings, topics).await?;
    let mut refused = Vec::new();
    for (topic, config) in topics.iter().zip(configs) {
        let found = TopicState { shape: cluster.shape(&topic.name), config };
        for promise in broken(topic, &found) {
            if settings.development && promise.may_lack {
                tracing::warn!("{promise}: in development this is accepted, and {}", promise.risk);
            } else if promise.may_lack {
                refused.push(format!("{promise} ({})", promises::IN_DEVELOPMENT));
            } else {
                refused.push(promise.to_string());
            }
        }
    }
    // The admin client's threads end off the runtime.
    drop(tokio::task::spawn_blocking(move || drop(admin)));
    if refused.is_empty() { Ok(()) } else { Err(Error::Promise(refused.join("; "))) }
}

struct Cluster {
    brokers: Vec<i32>,
    topics: Vec<(String, promises::Shape)>,
}

impl Cluster {
    fn shape(&self, topic: &str) -> promises::Shape {
        self.topics
            .iter()
            .find(|(name, _)| name == topic)
            .map(|(_, shape)| *shape)
            .unwrap_or_default()
    }
}

async fn look(
    admin: &Arc<AdminClient<DefaultClientContext>>,
    within: Duration,
) -> Result<Cluster, Error> {
    let admin = Arc::clone(admin);
    let looked = tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, within).map_err(unreachable)?;
        let shaped = metadata.topics().iter().map(|topic| (topic.name().to_owned(), shape(topic)));
        Ok(Cluster {
            brokers: metadata.brokers().iter().map(|broker| broker.id()).collect(),
            topics: shaped.collect(),
        })
    });
    looked.await.map_err(|error| Error::Unreachable(error.to_string()))?
}

fn shape(topic: &MetadataTopic) -> promises::Shape {
    let partitions = topic.partitions();
    promises::Shape {
        partitions: partitions.len(),
        replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
        led: partitions.iter().all(|partition| partition.leader() >= 0),
    }
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    settings: &Settings,
    missing: &[&Topic],
    brokers: usize,
) -> Result<(), Error> {
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = usize::from(settings.replication);
    let replication = if settings.development { wanted.min(brokers) } else { wanted };
    let configs: Vec<_> = missing.iter().map(|topic| created(topic.kind, replication)).collect();
    let new = missing.iter().zip(&configs).map(|(topic, config)| {
        let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
        let replication = TopicReplication::Fixed(i32::try_from(replication).unwrap_or(i32::MAX));
        config
            .iter()
            .fold(NewTopic::new(&topic.name, partitions, replication), |new, (name, value)| {
                new.set(name, value)
            })
    });
    let new: Vec<_> = new.collect();
    let done = admin.create_topics(&new, &options(settings)).await.map_err(unreachable)?;
    for result in done {
        match result {
            Ok(topic) => tracing::info!(topic, replication, "created a topic"),
            // Another instance was first: what it made is read back like any other.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            // More brokers are named than have come up.
            Err((topic, RDKafkaErrorCode::InvalidReplicationFactor))
                if brokers < settings.bootstrap.split(',').count() =>
            {
                return Err(Error::Unreachable(format!(
                    "topic {topic}: only {brokers} of the brokers are there, and it needs \
                     {replication}"
                )));
            }
            Err((topic, code @ RDKafkaErrorCode::InvalidReplicationFactor)) => {
                return Err(Error::Promise(format!(
                    "topic {topic}: replication factor is at most {brokers} (the brokers that are \
                     there), must be {replication}: {code}; {}",
                    promises::IN_DEVELOPMENT
                )));
            }
            Err((topic, code)) => {
                return Err(refused(code, &format!("topic {topic} cannot be created")));
            }
        }
    }
    Ok(())
}

/// Waits until every topic is known with a leader for each partition.
async fn settled(
    admin: &Arc<AdminClient<DefaultClientContext>>,
    settings: &Settings,
    topics: &[Topic],
) -> Result<Cluster, Error> {
    let deadline = Instant::now() + settings.request_timeout;
    loop {
        let cluster = look(admin, settings.request_timeout).await?;
        let waiting = topics.iter().find(|topic| !cluster.shape(&topic.name).is_settled());
        let Some(waiting) = waiting else { return Ok(cluster) };
        if Instant::now() >= deadline {
            return Err(Error::Unreachable(format!(
                "topic {}: not every partition has a leader",
                waiting.name
            )));
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn describe(
    admin: &AdminClient<DefaultClientContext>,
    settings: &Settings,
    topics: &[Topic],
) -> Result<Vec<ConfigResource>, Error> {
    let deadline = Instant::now() + settings.request_timeout;
    let specifiers: Vec<_> =
        topics.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
    loop {
        let described =
            admin.describe_configs(&specifiers, &options(settings)).await.map_err(unreachable)?;
        let described: Result<Vec<_>, RDKafkaErrorCode> = described.into_iter().collect();
        // Created a moment ago, and not known to the broker that was asked: it says so, or answers
        // with no settings at all.
        match described {
            Ok(configs) if configs.iter().all(|config| !config.entries.is_empty()) => {
                return Ok(configs);
            }
            Ok(_) | Err(RDKafkaErrorCode::UnknownTopicOrPartition) if Instant::now() < deadline => {
                tokio::time::sleep(RETRY).await
            }
            Ok(_) => {
                return Err(Error::Unreachable(
                    "the brokers do not say the settings of the topics yet".to_owned(),
                ));
            }
            Err(code) => return Err(refused(code, "the settings of the topics cannot be read")),
        }
    }
}

/// A session below the brokers' minimum is refused for ever, and only when joining: so it is asked
/// here.
async fn check_sessions(
    admin: &AdminClient<DefaultClientContext>,
    settings: &Settings,
    cluster: &Cluster,
) -> Result<(), Error> {
    let Some(broker) = cluster.brokers.first() else { return Ok(()) };
    let described = admin
        .describe_configs(&[ResourceSpecifier::Broker(*broker)], &options(settings))
        .await
        .map_err(unreachable)?;
    let Some(Ok(config)) = described.into_iter().next() else {
        tracing::warn!(
            broker,
            "the broker's session limits cannot be read; a session below them would never be \
             assigned anything"
        );
        return Ok(());
    };
    let number = |name| {
        config
            .get(name)
            .and_then(|entry| entry.value.as_deref())
            .and_then(|value| value.parse::<u128>().ok())
    };
    let ours = settings.session_timeout.as_millis();
    let (min, max) =
        (number("group.min.session.timeout.ms"), number("group.max.session.timeout.ms"));
    if min.is_some_and(|min| ours < min) || max.is_some_and(|max| ours > max) {
        return Err(Error::Promise(format!(
            "broker {broker}: group.min.session.timeout.ms to group.max.session.timeout.ms is {} \
             to {}, must include {ours} (session.timeout.ms)",
            min.unwrap_or_default(),
            max.unwrap_or_default()
        )));
    }
    Ok(())
}

fn options(settings: &Settings) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(settings.request_timeout))
        .operation_timeout(Some(settings.request_timeout))
}
