//! Which answers of brokers pass by themselves. Talks to no broker.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::log::Error;

/// What a broker answers about a partition that was made a moment ago, or whose leader or brokers
/// come and go: the next one to be asked, or the same one a little later, knows better.
pub fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::UnknownTopic
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::BrokerNotAvailable
            | Code::NotController
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::DestroyBroker
            | Code::NetworkException
            | Code::KafkaStorageError
            | Code::ThrottlingQuotaExceeded
    )
}

/// What became of administration.
pub fn refused(code: Code, what: &str) -> Error {
    let text = format!("{what}: {code}");
    if passes(code) { Error::Unreachable(text) } else { Error::Refused(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documented::Row;

    #[test]
    fn what_passes_is_waited_for_and_what_stays_is_not() {
        for (code, may_pass) in [
            (Code::UnknownTopicOrPartition, true),
            (Code::NotLeaderForPartition, true),
            (Code::LeaderNotAvailable, true),
            (Code::NotController, true),
            (Code::OperationTimedOut, true),
            (Code::RequestTimedOut, true),
            (Code::BrokerTransportFailure, true),
            (Code::CoordinatorNotAvailable, true),
            (Code::TopicAuthorizationFailed, false),
            (Code::ClusterAuthorizationFailed, false),
            (Code::PolicyViolation, false),
            (Code::InvalidConfig, false),
            (Code::InvalidPartitions, false),
            (Code::InvalidReplicationFactor, false),
            (Code::InvalidTopic, false),
            (Code::UnsupportedVersion, false),
        ] {
            assert_eq!(refused(code, "what").may_pass(), may_pass, "{code:?}");
        }
        Row {
            id: "S3",
            situation: "a first start on slow brokers: topics that one process has just made are \
                        unknown to a broker (UnknownTopicOrPartition), without a leader, or not \
                        described in time",
            answer: "each process waits for them within `start.wait_ms`; a setting or promise that \
                     is wrong ends it at once",
            test: (file!(), "what_passes_is_waited_for_and_what_stays_is_not"),
        }
        .check();
    }

    #[test]
    fn a_broken_promise_and_a_setting_stay() {
        let partition = crate::log::Partition { topic: "t".into(), index: 0 };
        let text = || "what".to_owned();
        for (error, may_pass) in [
            (Error::Unreachable(text()), true),
            (Error::ReadOnly(text()), false),
            (Error::Promise(text()), false),
            (Error::Refused(text()), false),
            (Error::Setting(text()), false),
            (partition.error("outside"), false),
        ] {
            assert_eq!(error.may_pass(), may_pass, "{error}");
        }
    }
}
