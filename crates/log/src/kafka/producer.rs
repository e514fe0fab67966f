//! Idempotent producers that push delivery reports to the appender. A producer is made anew only
//! after a fatal error; then the generation in its reports is one higher. Decides nothing about
//! what a report means.

use std::{sync::Arc, time::Duration};

use highwater_protocol::record::Record;
use metrics::Counter;
use parking_lot::RwLock;
use rdkafka::{
    ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Message, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
};

use super::{Settings, context::client_error, unreachable};
use crate::log::{Appended, Error, Partition, Reply, Report, ReportError};

/// The producers of one process.
pub struct Producers {
    settings: Settings,
    slots: Vec<RwLock<Option<Arc<Instance>>>>,
}

struct Instance {
    generation: u64,
    producer: ThreadedProducer<Reports>,
}

struct Reports {
    generation: u64,
    at: Counter,
    somewhere: Counter,
    purged: Counter,
    failed: Counter,
    refused: Counter,
}

impl Producers {
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let slots = (0..settings.producers)
            .map(|_| Ok(RwLock::new(Some(Arc::new(Instance::new(settings, 0)?)))));
        Ok(Self { settings: settings.clone(), slots: slots.collect::<Result<_, Error>>()? })
    }

    fn slot_of(&self, partition: &Partition) -> usize {
        partition.index as usize % self.slots.len()
    }

    pub fn append(&self, to: &Partition, record: &Record, reply: Reply) -> Result<(), Error> {
        let slot = self.slot_of(to);
        let instance = self.instance(slot)?;
        let Err((error, reply)) = instance.send(to, record, reply) else { return Ok(()) };
        if instance.producer.client().fatal_error().is_none() {
            return Err(refused(to, &error));
        }
        self.replace(slot, &instance)?;
        self.instance(slot)?.send(to, record, reply).map_err(|(error, _)| refused(to, &error))
    }

    /// Connects every producer to the brokers of `topic`, so that a take-over does not have to.
    /// Blocks.
    pub fn warm(&self, topic: &str, within: Duration) -> Result<(), Error> {
        for slot in 0..self.slots.len() {
            let instance = self.instance(slot)?;
            instance.producer.client().fetch_metadata(Some(topic), within).map_err(unreachable)?;
        }
        Ok(())
    }

    /// Sends what is queued and closes. Blocks, off the runtime.
    pub fn close(&self, within: Duration) {
        let closing: Vec<_> = self.slots.iter().filter_map(|slot| slot.write().take()).collect();
        for instance in &closing {
            if let Err(error) = instance.producer.flush(within) {
                tracing::warn!(
                    %error,
                    records = instance.producer.in_flight_count(),
                    "records were not acknowledged before closing"
                );
            }
        }
    }

    fn instance(&self, slot: usize) -> Result<Arc<Instance>, Error> {
        let instance = self.slots[slot].read().clone();
        instance.ok_or_else(|| Error::Refused("the log was closed".to_owned()))
    }

    /// Puts a new producer in the place of `dead`, unless another append did.
    fn replace(&self, slot: usize, dead: &Arc<Instance>) -> Result<(), Error> {
        let mut place = self.slots[slot].write();
        if place.as_ref().is_some_and(|instance| instance.generation == dead.generation) {
            let generation = dead.generation + 1;
            tracing::error!(fatal = ?dead.producer.client().fatal_error(), generation, "a producer \
                had a fatal error and is replaced");
            metrics::counter!("highwater_kafka_producers_replaced_total").increment(1);
            let replaced = place.replace(Arc::new(Instance::new(&self.settings, generation)?));
            // Dropping purges, reports and waits: not here.
            std::thread::spawn(move || drop(replaced));
        }
        Ok(())
    }
}

impl Drop for Producers {
    fn drop(&mut self) {
        let left: Vec<_> = self.slots.iter().filter_map(|slot| slot.write().take()).collect();
        if !left.is_empty() {
            std::thread::spawn(move || drop(left));
        }
    }
}

impl Instance {
    fn new(settings: &Settings, generation: u64) -> Result<Self, Error> {
        let producer = settings.producer().create_with_context(Reports::new(generation));
        Ok(Self {
            generation,
            producer: producer.map_err(|error| Error::Refused(error.to_string()))?,
        })
    }

    fn send(
        &self,
        to: &Partition,
        record: &Record,
        reply: Reply,
    ) -> Result<(), (KafkaError, Reply)> {
        let partition = i32::try_from(to.index).unwrap_or(i32::MAX);
        let mut message =
            BaseRecord::<[u8], [u8], Box<Reply>>::with_opaque_to(&to.topic, Box::new(reply))
                .partition(partition);
        if let Some(key) = &record.key {
            message = message.key(key);
        }
        if let Some(value) = &record.value {
            message = message.payload(value);
        }
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            message = message.headers(record.headers.iter().fold(headers, |headers, header| {
                headers.insert(Header { key: &header.name, value: Some(header.value.as_slice()) })
            }));
        }
        self.producer.send(message).map_err(|(error, message)| (error, *message.delivery_opaque))
    }
}

impl Reports {
    fn new(generation: u64) -> Self {
        // Made once: a look-up by labels for each record costs more than the rest of its report.
        let counter = |outcome| {
            metrics::counter!(
                "highwater_kafka_delivery_reports_total",
                "outcome" => outcome
            )
        };
        let [at, somewhere, purged, failed, refused] =
            ["at", "somewhere", "purged", "failed", "refused"].map(counter);
        Self { generation, at, somewhere, purged, failed, refused }
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        client_error("producer", &error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Reply>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, reply: Box<Reply>) {
        let result = match delivered {
            // -1: a duplicate sequence; -1001: a later batch's success confirmed this one, whose
            // answer was lost.
            Ok(message) => {
                Ok(u64::try_from(message.offset()).map_or(Appended::Somewhere, Appended::At))
            }
            Err((
                KafkaError::MessageProduction(
                    RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight,
                ),
                _,
            )) => Err(ReportError::Purged),
            Err((KafkaError::MessageProduction(code), _)) if is_refusal(*code) => {
                Err(ReportError::Refused(code.to_string()))
            }
            Err((error, _)) => Err(ReportError::Failed(error.to_string())),
        };
        let reports = match &result {
            Ok(Appended::At(_)) => &self.at,
            Ok(Appended::Somewhere) => &self.somewhere,
            Err(ReportError::Purged) => &self.purged,
            Err(ReportError::Failed(_) | ReportError::Unsent(_)) => &self.failed,
            Err(ReportError::Refused(_)) => &self.refused,
        };
        reports.increment(1);
        // An appender that dropped the receiver does not want to know.
        let _ = reply.to.send(Report { ticket: reply.ticket, generation: self.generation, result });
    }
}

fn refused(to: &Partition, error: &KafkaError) -> Error {
    match error {
        KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => {
            Error::Refused(format!("{to}: the producer's queue is full"))
        }
        KafkaError::MessageProduction(code) if is_refusal(*code) => {
            Error::Record(format!("{to}: {code}"))
        }
        error => to.error(error),
    }
}

/// The brokers look at the record, or at its sender, and will say the same again.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::UnsupportedForMessageFormat
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::PolicyViolation
    )
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        mocking::MockCluster,
        producer::DefaultProducerContext,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };
    use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

    use super::*;
    use crate::log::Ticket;

    const TOPIC: &str = "things";

    struct World {
        mock: MockCluster<'static, DefaultProducerContext>,
        producers: Producers,
        to: UnboundedSender<Report>,
        reports: UnboundedReceiver<Report>,
    }

    fn world() -> World {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(TOPIC, 2, 1).unwrap();
        let producers = Producers::new(&Settings::new(mock.bootstrap_servers())).unwrap();
        let (to, reports) = mpsc::unbounded_channel();
        World { mock, producers, to, reports }
    }

    impl World {
        /// The generation and the result of one append.
        async fn append(&mut self) -> (u64, Result<Appended, ReportError>) {
            let ticket = Ticket { writer: uuid::Uuid::nil(), seq: Some(7) };
            let to = Partition { topic: TOPIC.into(), index: 1 };
            let record = Record { value: Some(vec![1]), ..Record::default() };
            self.producers.append(&to, &record, Reply { ticket, to: self.to.clone() }).unwrap();
            let report = tokio::time::timeout(Duration::from_secs(20), self.reports.recv())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(report.ticket, ticket);
            (report.generation, report.result)
        }

        fn answer(&self, error: RDKafkaRespErr) {
            self.mock.request_errors(RDKafkaApiKey::Produce, &[error]);
        }
    }

    #[tokio::test]
    async fn a_duplicate_sequence_is_an_acknowledgement_without_offset() {
        let mut world = world();
        world.answer(RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER);
        assert_eq!(world.append().await, (0, Ok(Appended::Somewhere)));
        assert_eq!(world.append().await, (0, Ok(Appended::At(0))));
    }

    #[tokio::test]
    async fn a_refused_record_fails_alone_and_keeps_the_producer() {
        for (error, refused) in [
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD, true),
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, true),
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, true),
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_POLICY_VIOLATION, true),
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, false),
        ] {
            let mut world = world();
            world.answer(error);
            let (generation, result) = world.append().await;
            assert_eq!(generation, 0);
            assert_eq!(
                matches!(result, Err(ReportError::Refused(_))),
                refused,
                "{error:?}: {result:?}"
            );
            assert!(
                refused || matches!(result, Err(ReportError::Failed(_))),
                "{error:?}: {result:?}"
            );
            if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED {
                assert_eq!(world.append().await, (0, Ok(Appended::At(0))));
            }
        }
    }

    /// librdkafka notes it of the topic, and refuses by itself until the next metadata say
    /// otherwise.
    #[tokio::test]
    async fn a_topic_that_may_not_be_written_is_refused_before_anything_is_sent() {
        let mut world = world();
        world.answer(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        assert!(matches!(world.append().await, (0, Err(ReportError::Refused(_)))));
        let to = Partition { topic: TOPIC.into(), index: 1 };
        let record = Record { value: Some(vec![1]), ..Record::default() };
        let reply = Reply {
            ticket: Ticket { writer: uuid::Uuid::nil(), seq: Some(8) },
            to: world.to.clone(),
        };
        let refused = world.producers.append(&to, &record, reply);
        assert!(
            matches!(&refused, Err(Error::Record(said)) if said.contains(TOPIC)),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn after_a_fatal_error_a_new_producer_counts_one_generation_up() {
        let mut world = world();
        assert_eq!(world.append().await, (0, Ok(Appended::At(0))));
        world.answer(RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
        assert!(matches!(world.append().await, (0, Err(ReportError::Failed(_)))));
        assert_eq!(world.append().await, (1, Ok(Appended::At(1))));
        assert_eq!(world.append().await, (1, Ok(Appended::At(2))));
    }

    #[test]
    fn partitions_share_producers_by_their_number() {
        let producers =
            Producers::new(&Settings { producers: 2, ..Settings::new("127.0.0.1:1") }).unwrap();
        let slots =
            [0, 1, 2].map(|index| producers.slot_of(&Partition { topic: TOPIC.into(), index }));
        assert_eq!(slots, [0, 1, 0]);
    }
}
