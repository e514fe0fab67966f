//! What a topic must be (docs/log-format.md, "What Kafka must promise"), as one table. Talks to no
//! broker.

use std::fmt;

use rdkafka::admin::ConfigResource;

use crate::log::{Topic, TopicKind};

pub const REPLICATION: usize = 3;
const MIN_INSYNC: u64 = 2;
/// 1 MB, and what Kafka's own default is.
const MESSAGE_BYTES: u64 = 1_000_000;
const CREATED_MESSAGE_BYTES: &str = "1048588";
const SEVEN_DAYS_MS: &str = "604800000";

/// What metadata says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    pub partitions: usize,
    pub replicas: usize,
    /// Every partition has a leader.
    pub led: bool,
}

pub struct TopicState {
    pub shape: Shape,
    pub config: ConfigResource,
}

/// One promise that is not kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    topic: String,
    setting: &'static str,
    found: String,
    wanted: String,
    /// Development does without it.
    pub may_lack: bool,
    pub risk: &'static str,
}

impl Shape {
    pub fn is_settled(self) -> bool {
        self.partitions > 0 && self.led
    }
}

/// The settings of a new topic.
pub fn created(kind: TopicKind, replication: usize) -> Vec<(&'static str, String)> {
    let min_insync = MIN_INSYNC.min(replication.max(1) as u64);
    let mut settings = vec![
        ("min.insync.replicas", min_insync.to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("max.message.bytes", CREATED_MESSAGE_BYTES.to_owned()),
    ];
    settings.extend(exact(kind).into_iter().map(|(name, value)| (name, value.to_owned())));
    settings
}

/// Settings with one right value, by kind.
fn exact(kind: TopicKind) -> Vec<(&'static str, &'static str)> {
    match kind {
        TopicKind::Events => {
            vec![("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")]
        }
        TopicKind::Commands => vec![
            ("cleanup.policy", "delete"),
            ("retention.ms", SEVEN_DAYS_MS),
            ("retention.bytes", "-1"),
        ],
        TopicKind::Owners => vec![("cleanup.policy", "compact")],
    }
}

/// Beside what is refused, and would not be there.
pub const IN_DEVELOPMENT: &str =
    "with log.development (--development) fewer will do, and less is promised";

/// Every promise that `topic` does not keep.
pub fn broken(topic: &Topic, found: &TopicState) -> Vec<Broken> {
    let value = |name: &str| {
        found.config.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default()
    };
    let wrong = |setting, found: String, wanted: String| Broken {
        topic: topic.name.to_string(),
        setting,
        found,
        wanted,
        may_lack: false,
        risk: "",
    };
    let mut broken = Vec::new();
    if found.shape.partitions != topic.partitions as usize {
        broken.push(wrong(
            "partitions",
            found.shape.partitions.to_string(),
            topic.partitions.to_string(),
        ));
    }
    if found.shape.replicas < REPLICATION {
        let lacking = wrong(
            "replication factor",
            found.shape.replicas.to_string(),
            format!("at least {REPLICATION}"),
        );
        broken.push(Broken {
            may_lack: true,
            risk: "whatever was acknowledged is lost with the disks of its few brokers",
            ..lacking
        });
    }
    for (setting, wanted) in
        [("min.insync.replicas", MIN_INSYNC), ("max.message.bytes", MESSAGE_BYTES)]
    {
        let found = value(setting);
        if found.parse::<u64>().unwrap_or(0) < wanted {
            let may_lack = setting == "min.insync.replicas";
            let lacking = wrong(setting, found, format!("at least {wanted}"));
            broken.push(Broken {
                may_lack,
                risk: "a record that one broker alone has is acknowledged, and lost with it",
                ..lacking
            });
        }
    }
    let always =
        [("unclean.leader.election.enable", "false"), ("message.timestamp.type", "LogAppendTime")];
    for (setting, wanted) in always.into_iter().chain(exact(topic.kind)) {
        let found = value(setting);
        if found != wanted {
            broken.push(wrong(setting, found, wanted.to_owned()));
        }
    }
    broken
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { topic, setting, found, wanted, .. } = self;
        write!(f, "topic {topic}: {setting} is {found}, must be {wanted}")
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::admin::{ConfigEntry, ConfigSource, OwnedResourceSpecifier};

    use super::*;

    fn entry(name: &str, value: &str) -> ConfigEntry {
        let (name, value) = (name.to_owned(), Some(value.to_owned()));
        ConfigEntry {
            name,
            value,
            source: ConfigSource::DynamicTopic,
            is_read_only: false,
            is_default: false,
            is_sensitive: false,
        }
    }

    fn kept(kind: TopicKind) -> TopicState {
        let entries = created(kind, 3).iter().map(|(name, value)| entry(name, value)).collect();
        let shape = Shape { partitions: 8, replicas: 3, led: true };
        TopicState {
            shape,
            config: ConfigResource {
                specifier: OwnedResourceSpecifier::Topic("t".to_owned()),
                entries,
            },
        }
    }

    fn topic(kind: TopicKind) -> Topic {
        Topic { name: "t".into(), partitions: 8, kind }
    }

    #[test]
    fn what_is_created_keeps_every_promise() {
        for kind in [TopicKind::Events, TopicKind::Commands, TopicKind::Owners] {
            assert_eq!(broken(&topic(kind), &kept(kind)), []);
        }
    }

    #[test]
    fn every_broken_promise_is_named_with_what_it_is_and_must_be() {
        for (name, value, message) in [
            ("min.insync.replicas", "1", "topic t: min.insync.replicas is 1, must be at least 2"),
            (
                "max.message.bytes",
                "999999",
                "topic t: max.message.bytes is 999999, must be at least 1000000",
            ),
            (
                "unclean.leader.election.enable",
                "true",
                "topic t: unclean.leader.election.enable is true, must be false",
            ),
            (
                "cleanup.policy",
                "compact,delete",
                "topic t: cleanup.policy is compact,delete, must be delete",
            ),
            ("retention.ms", "604800000", "topic t: retention.ms is 604800000, must be -1"),
            ("retention.bytes", "1", "topic t: retention.bytes is 1, must be -1"),
            (
                "message.timestamp.type",
                "CreateTime",
                "topic t: message.timestamp.type is CreateTime, must be LogAppendTime",
            ),
        ] {
            let mut found = kept(TopicKind::Events);
            found.config.entries.retain(|entry| entry.name != name);
            found.config.entries.push(entry(name, value));
            let broken = broken(&topic(TopicKind::Events), &found);
            assert_eq!(broken.iter().map(ToString::to_string).collect::<Vec<_>>(), [message]);
        }
    }

    #[test]
    fn development_does_without_replicas_only() {
        let mut found = kept(TopicKind::Events);
        found.shape = Shape { partitions: 4, replicas: 1, led: true };
        let broken = broken(&topic(TopicKind::Events), &found);
        let named: Vec<_> = broken.iter().map(|broken| (broken.setting, broken.may_lack)).collect();
        assert_eq!(named, [("partitions", false), ("replication factor", true)]);
    }
}
