//! An event of the log as a CloudEvent 1.0 in structured mode: one JSON object on one line. Reads
//! what the fold shows, decides nothing.

use std::fmt;

use highwater_protocol::{
    entry::{EventBody, Part},
    wire::Wire,
};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// A position of one partition, written `category/partition@offset`: everything below the offset is
/// included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPosition {
    pub category: String,
    pub partition: u32,
    pub offset: u64,
}

/// Where events come from, as the topic's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub prefix: String,
    pub category: String,
}

#[derive(Serialize)]
struct StructuredEvent<'a> {
    specversion: &'static str,
    id: Uuid,
    source: String,
    r#type: &'a str,
    subject: Uuid,
    time: String,
    dataschema: String,
    datacontenttype: &'static str,
    hwposition: String,
    hwversion: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    hwcommit: Option<String>,
    hwcommand: Uuid,
    hwactor: Uuid,
    hwcorrelation: Uuid,
    hwcausation: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: &'a RawValue,
}

/// One line. `after` is the position behind the event. The error: the event's data is no JSON.
pub fn structured(
    event: &EventBody<Wire>,
    source: &Source,
    after: &EventPosition,
) -> Result<String, serde_json::Error> {
    let data: &RawValue = serde_json::from_slice(&event.event.data)?;
    let meta = &event.metadata.meta;
    let part = event.part;
    let line = serde_json::to_string(&StructuredEvent {
        specversion: "1.0",
        id: meta.event_id,
        source: format!("/{}/{}", source.prefix, source.category),
        r#type: &event.event.event_type,
        subject: event.metadata.aggregate,
        time: event.time.to_text(),
        dataschema: format!("urn:highwater:schema:{}", event.event.schema),
        datacontenttype: "application/json",
        hwposition: after.to_string(),
        hwversion: event.version,
        hwcommit: (part != Part::WHOLE).then(|| format!("{}/{}", part.index, part.of)),
        hwcommand: event.metadata.command,
        hwactor: meta.actor,
        hwcorrelation: meta.correlation,
        hwcausation: meta.causation,
        traceparent: meta.traceparent.as_deref(),
        data,
    })?;
    // Line breaks stand between tokens only: inside a JSON string they are escaped.
    Ok(line.replace(['\n', '\r'], " "))
}

impl Source {
    /// Of `<prefix>.<category>.events`; other topics hold no events.
    pub fn of(topic: &str) -> Option<Self> {
        let (prefix, category) = topic.strip_suffix(".events")?.rsplit_once('.')?;
        Some(Self { prefix: prefix.to_owned(), category: category.to_owned() })
    }
}

impl EventPosition {
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (category, rest) = text.rsplit_once('/')?;
            let (partition, offset) = rest.split_once('@')?;
            let place = Self {
                category: category.to_owned(),
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            };
            (!category.is_empty()).then_some(place)
        };
        parsed().ok_or_else(|| {
            "a position is written CATEGORY/PARTITION@OFFSET, as note/3@1042".to_owned()
        })
    }
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.category, self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use highwater_protocol::{
        entry::CommandMetadata,
        time::Micros,
        wire::{Fingerprint, Meta, RecordedEvent},
    };

    use super::*;

    fn event(data: &[u8]) -> EventBody<Wire> {
        let id = Uuid::from_u128;
        let traceparent =
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
        EventBody {
            metadata: CommandMetadata {
                aggregate: id(0xa),
                command: id(0xc),
                fingerprint: Fingerprint { key_number: 1, hmac: [0; 32] },
                meta: Meta {
                    event_id: id(1),
                    actor: id(2),
                    correlation: id(3),
                    causation: id(4),
                    traceparent,
                },
                source: None,
            },
            version: 7,
            part: Part { index: 2, of: 3 },
            time: Micros(0),
            event: RecordedEvent {
                event_type: Cow::Borrowed("note.written"),
                schema: Cow::Borrowed("note.written.v2"),
                data: data.to_vec(),
            },
        }
    }

    fn place() -> EventPosition {
        EventPosition { category: "note".to_owned(), partition: 3, offset: 42 }
    }

    #[test]
    fn an_event_is_one_line_with_every_attribute() -> Result<(), Box<dyn std::error::Error>> {
        let source = Source::of("hw.note.events").ok_or("a topic of events")?;
        let line = structured(
            &event(b"{\"text\":\r\n \"a\\nb\",\"n\":18446744073709551615}"),
            &source,
            &place(),
        )?;
        assert!(!line.contains('\n'), "{line}");
        let json: serde_json::Value = serde_json::from_str(&line)?;
        let expected = serde_json::json!({
            "specversion": "1.0", "id": Uuid::from_u128(1), "source": "/hw/note",
            "type": "note.written", "subject": Uuid::from_u128(0xa),
            "time": "1970-01-01T00:00:00.000000Z",
            "dataschema": "urn:highwater:schema:note.written.v2",
            "datacontenttype": "application/json",
            "hwposition": "note/3@42", "hwversion": 7, "hwcommit": "2/3",
            "hwcommand": Uuid::from_u128(0xc), "hwactor": Uuid::from_u128(2),
            "hwcorrelation": Uuid::from_u128(3), "hwcausation": Uuid::from_u128(4),
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "data": {"text": "a\nb", "n": u64::MAX},
        });
        assert_eq!(json, expected);
        Ok(())
    }

    #[test]
    fn data_that_is_no_json_is_an_error() {
        let source = Source { prefix: "hw".to_owned(), category: "note".to_owned() };
        assert!(structured(&event(b"{"), &source, &place()).is_err());
        assert!(structured(&event(b"\xff"), &source, &place()).is_err());
    }

    #[test]
    fn positions_are_read_as_they_are_written_and_nothing_else_is() {
        assert_eq!(EventPosition::parse("note/3@42"), Ok(place()));
        for text in
            ["", "note", "note/3", "note/@1", "/3@1", "note/3@", "note/-1@2", "note/3@x", "3@42"]
        {
            assert!(EventPosition::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_topics_of_events_are_sources() {
        let source = Source::of("a.b.note.events");
        assert_eq!(
            source.map(|s| (s.prefix, s.category)),
            Some(("a.b".to_owned(), "note".to_owned()))
        );
        assert_eq!(
            [Source::of("hw.note.commands"), Source::of("hw.owners"), Source::of("events")],
            [None, None, None]
        );
    }
}
