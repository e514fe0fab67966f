//! Headers and body of a command, checked in the sequence of docs/http.md: 415, 413, 400, 422, 428.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use highwater_http::{
    body::{MediaType, StrictJson},
    headers::{IdempotencyKey, IfMatch, Prefer},
    heavy, json,
    problem::{FieldError, MEDIA_TYPE, Problem},
    server::{Admission, TraceContext},
};
use highwater_protocol::{
    command_queue::AcceptedCommand,
    time::Micros,
    wire::{Fingerprint, Meta, Wire},
    writer::{Expected, Submission},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::App;
use crate::{
    category::{Category, Spec},
    owner::{forward, hop::Hop},
};

/// Of the name of a parameter that is refused.
const SHOWN_CHARACTERS: usize = 40;
/// Until there are tokens, every caller is this one.
const PRINCIPAL: &str = "anonymous";

/// Who asks, and how.
pub(super) struct Caller {
    uri: Uri,
    pub(super) key: IdempotencyKey,
    /// The caller chose the key.
    pub(super) caller_key: bool,
    /// Another instance sent the request on.
    pub(super) forwarded: bool,
    /// How long that instance waits.
    pub(super) within: Option<Duration>,
    pub(super) trace: TraceContext,
    pub(super) prefer: Prefer,
    /// `None`: no layer admitted the request.
    pub(super) admission: Option<Admission>,
    if_match: Option<IfMatch>,
}

/// What a command is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// An aggregate to be made; its id comes from the body or from the key.
    New,
    Existing(Uuid),
}

/// A command, checked as far as can be without its aggregate.
pub(super) struct Command<C: Category> {
    pub(super) submission: Submission<Wire, C::Command>,
    pub(super) target: Target,
    /// Name and version, for the command queue.
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) creates: bool,
    /// In canonical form (RFC 8785): what else a caller wrote, white space above all, goes neither
    /// into the log nor to the owner.
    pub(super) body: Bytes,
    pub(super) media: MediaType,
}

/// Head and body, checked as far as can be without the aggregate. What is wrong with the body's
/// size or type is said before what is wrong with a header, and that before what is wrong with
/// `target` and with what the body says. Once the caller is known, a refusal names the key.
pub(super) async fn read<C: Category>(
    app: &App<C>,
    request: Request,
    name: &str,
    target: Result<Target, Problem>,
) -> Result<(Caller, Command<C>), Response> {
    let (head, body) = request.into_parts();
    let body = StrictJson::read(&head, body).await;
    let caller = match Caller::of(app, head) {
        Ok(caller) => caller,
        Err(problem) => return Err(body.err().unwrap_or(problem).into_response()),
    };
    let command = match body.and_then(|body| Ok((body, target?))) {
        Ok((body, target)) => command(app, &caller, name, target, body).await,
        Err(problem) => Err(problem),
    };
    match command {
        Ok(command) => Ok((caller, command)),
        Err(problem) => Err(caller.named(problem.into_response())),
    }
}

impl Caller {
    /// Reads the headers; a key is minted where none was given.
    fn of<C: Category>(app: &App<C>, head: Parts) -> Result<Self, Problem> {
        let Parts { uri, headers, extensions, .. } = head;
        without_parameters(&uri)?;
        let given = IdempotencyKey::from_headers(&headers)?;
        let hop = extensions.get::<Hop>();
        let minted = hop.is_some_and(|hop| hop.minted);
        let if_match = IfMatch::of_command(&headers)?;
        Ok(Self {
            uri,
            caller_key: given.is_some() && !minted,
            key: given.unwrap_or_else(|| IdempotencyKey::minted(app.ctx.ids.v4())),
            prefer: Prefer::from_headers(&headers),
            admission: extensions.get::<Admission>().cloned(),
            forwarded: hop.is_some(),
            within: hop.map(|hop| Duration::from_millis(hop.within_ms)),
            trace: extensions
                .get::<TraceContext>()
                .cloned()
                .unwrap_or_else(|| TraceContext::fresh(&*app.ctx.ids)),
            if_match,
        })
    }

    /// Rather than hear that it is not decided yet, it lets the command wait in the command queue.
    pub(super) fn defers(&self) -> bool {
        !self.forwarded && (self.prefer.respond_async || self.prefer.wait.is_some())
    }

    /// What an owner looks at, as it was understood here and in the form that every instance reads
    /// alike.
    pub(super) fn understood(&self, media: &MediaType) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, media_type(media));
        headers.insert(IdempotencyKey::NAME, self.key.to_header());
        if let Some(if_match) = &self.if_match {
            headers.insert(header::IF_MATCH, if_match.to_header());
        }
        if let Some(traceparent) = self.trace.to_header() {
            headers.insert("traceparent", traceparent);
        }
        headers
    }

    /// What another instance answered, as a problem of this request if it is one.
    pub(super) async fn told(&self, response: Response) -> Response {
        let is_problem = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|media| media.as_bytes() == MEDIA_TYPE.as_bytes());
        if !is_problem {
            return response;
        }
        let (head, body) = response.into_parts();
        // In memory, and bounded when it was read.
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let body = match serde_json::from_slice::<Map<String, Value>>(&body) {
            Ok(mut members) => {
                members.insert("instance".to_owned(), json::shorten(self.uri.path()).into());
                members.insert("trace_id".to_owned(), self.trace.trace_id().into());
                Bytes::from(Value::Object(members).to_string())
            }
            Err(_) => body,
        };
        Response::from_parts(head, Body::from(body))
    }

    /// The answer, with the key that a retry must bring.
    pub(super) fn named(&self, mut response: Response) -> Response {
        response.headers_mut().entry(IdempotencyKey::NAME).or_insert_with(|| self.key.to_header());
        response
    }
}

/// What a client asks for there it would not get: nothing of a command stands in its query string.
fn without_parameters(uri: &Uri) -> Result<(), Problem> {
    let Some(given) = uri.query().filter(|query| !query.is_empty()) else { return Ok(()) };
    let name: String =
        given.split(['=', '&']).next().unwrap_or_default().chars().take(SHOWN_CHARACTERS).collect();
    let detail =
        "a command has no query parameters: what it says stands in its headers and its body";
    Err(Problem::bad_parameter(&name, detail))
}

fn media_type(media: &MediaType) -> HeaderValue {
    let text = match media {
        MediaType::Plain => "application/json".to_owned(),
        MediaType::Versioned { name, version } => {
            format!("application/vnd.highwater.{name}.v{version}+json")
        }
        MediaType::Other(essence) => essence.clone(),
    };
    // It was read out of a header.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("application/json"))
}

/// Checks the body against its schema and makes the submission.
async fn command<C: Category>(
    app: &App<C>,
    caller: &Caller,
    name: &str,
    target: Target,
    body: StrictJson,
) -> Result<Command<C>, Problem> {
    let spec = served::<C>(app, name, &body.media)?;
    let (body, checked) = check::<C>(app, spec, name, body).await;
    let Checked { payload, canonical } = checked.map_err(Problem::invalid_body)?;
    if spec.expected_required && caller.if_match.is_none() {
        return Err(Problem::precondition_required());
    }
    let (aggregate, derived) = aggregate::<C>(app, caller, target, &body.value)?;
    let command = app.keys.command_id(PRINCIPAL, C::NAME, aggregate, caller.key.as_str());
    let full_name = format!("{}.{name}", C::NAME);
    let mut fingerprints = app.keys.fingerprints(&full_name, &canonical).into_iter();
    let fingerprint = fingerprints.next().map(fingerprint).ok_or_else(Problem::internal)?;
    // Only a key that was made here a moment ago cannot have been seen before.
    let fresh = !caller.caller_key && !caller.forwarded;
    let submission = Submission {
        token: 0,
        command,
        aggregate,
        fingerprint,
        older_fingerprints: fingerprints.map(self::fingerprint).collect(),
        expected: caller.if_match.as_ref().map_or(Expected::Anything, expected),
        payload: Ok(Arc::new(payload)),
        caller_key: caller.caller_key,
        fresh,
        new_aggregate: fresh && derived,
        meta: meta(app, caller, command),
        at: Micros(app.ctx.clock.now()),
        deadline_ms: 0,
        queued: None,
    };
    Ok(Command {
        submission,
        target,
        name: full_name,
        version: spec.version,
        creates: spec.creates,
        body: canonical.into(),
        media: body.media,
    })
}

struct Checked<C: Category> {
    payload: C::Command,
    /// Of the body (RFC 8785).
    canonical: Vec<u8>,
}

/// Holds the body against its schema.
async fn check<C: Category>(
    app: &App<C>,
    spec: &Arc<Spec>,
    name: &str,
    body: StrictJson,
) -> (StrictJson, Result<Checked<C>, Vec<FieldError>>) {
    let now = Micros(app.ctx.clock.now());
    if !heavy::is_large(body.bytes.len()) {
        let checked = Checked::of(spec, name, &body.value, now);
        return (body, checked);
    }
    let (spec, name) = (spec.clone(), name.to_owned());
    let work = move || {
        let checked = Checked::of(&spec, &name, &body.value, now);
        (body, checked)
    };
    Box::pin(heavy::done(work)).await
}

impl<C: Category> Checked<C> {
    fn of(spec: &Spec, name: &str, body: &Value, now: Micros) -> Result<Self, Vec<FieldError>> {
        Ok(Self { payload: spec.command::<C>(name, body, now)?, canonical: json::canonical(body) })
    }
}

/// The command as another instance is sent it.
pub(super) fn outgoing<C: Category>(
    app: &App<C>,
    caller: &Caller,
    command: &Command<C>,
) -> forward::Command {
    let collection = app.collection;
    let path = match command.target {
        Target::New => format!("/v1/{collection}"),
        Target::Existing(id) => format!(
            "/v1/{collection}/{id}/{}",
            command.name.trim_start_matches(C::NAME).trim_start_matches('.')
        ),
    };
    let headers = caller.understood(&command.media);
    forward::Command { path, headers, body: command.body.clone(), minted: !caller.caller_key }
}

/// The command as it waits in the command queue.
pub(super) fn accepted<C: Category>(app: &App<C>, command: &Command<C>) -> AcceptedCommand {
    let submission = &command.submission;
    let left_us = i64::try_from(app.command_queue.settings.deadline_ms.saturating_mul(1_000))
        .unwrap_or(i64::MAX);
    AcceptedCommand {
        aggregate: submission.aggregate,
        command: submission.command,
        name: command.name.clone(),
        version: command.version,
        fingerprint: submission.fingerprint.clone(),
        caller_key: submission.caller_key,
        expected: submission.expected.clone(),
        actor: submission.meta.actor,
        scopes: Vec::new(),
        deadline: Micros(app.ctx.clock.now().saturating_add(left_us)),
        correlation: submission.meta.correlation,
        traceparent: submission.meta.traceparent.clone(),
        body: command.body.to_vec(),
    }
}

fn served<'a, C: Category>(
    app: &'a App<C>,
    name: &str,
    media: &MediaType,
) -> Result<&'a Arc<Spec>, Problem> {
    let version = match media {
        MediaType::Plain => None,
        MediaType::Versioned { name: given, version }
            if *given == format!("{}.{name}", C::NAME) =>
        {
            Some(*version)
        }
        MediaType::Versioned { .. } | MediaType::Other(_) => {
            return Err(unsupported::<C>(app, name));
        }
    };
    app.commands.find(name, version).ok_or_else(|| unsupported::<C>(app, name))
}

fn unsupported<C: Category>(app: &App<C>, name: &str) -> Problem {
    let versions = app.commands.versions(name).into_iter();
    let served: Vec<_> = versions
        .map(|version| format!("application/vnd.highwater.{}.{name}.v{version}+json", C::NAME))
        .collect();
    Problem::unsupported_media_type(format!(
        "Content-Type must be application/json or {}",
        served.join(" or ")
    ))
}

/// The aggregate's id, and whether it was derived from the key.
fn aggregate<C: Category>(
    app: &App<C>,
    caller: &Caller,
    target: Target,
    body: &Value,
) -> Result<(Uuid, bool), Problem> {
    match (target, body.get("id").and_then(Value::as_str)) {
        (Target::Existing(id), _) => Ok((id, false)),
        (Target::New, None) => {
            Ok((app.keys.create_id(PRINCIPAL, C::NAME, caller.key.as_str()), true))
        }
        (Target::New, Some(id)) => Uuid::try_parse(id).map(|id| (id, false)).map_err(|_| {
            Problem::invalid_body(vec![FieldError::pointer("/id", "must be a hyphenated UUID")])
        }),
    }
}

fn meta<C: Category>(app: &App<C>, caller: &Caller, command: Uuid) -> Meta {
    Meta {
        event_id: Uuid::nil(),
        actor: app.keys.actor_id(PRINCIPAL),
        // The trace is the request tree; its id has the 16 bytes of a UUID.
        correlation: Uuid::try_parse(caller.trace.trace_id()).unwrap_or(command),
        causation: command,
        traceparent: Some(caller.trace.traceparent().to_owned()),
    }
}

fn expected(if_match: &IfMatch) -> Expected {
    if_match.versions().map_or(Expected::Exists, |versions| Expected::OneOf(versions.to_vec()))
}

fn fingerprint((key_number, hmac): (u16, [u8; 32])) -> Fingerprint {
    Fingerprint { key_number, hmac }
}

/// 413 of a command whose events are too large for one commit.
pub(super) fn too_large(
    events: usize,
    bytes: usize,
    most_events: usize,
    most_bytes: usize,
) -> Problem {
    let detail = format!(
        "the command would make {events} events of {bytes} bytes; one command may make \
         {most_events} events of {most_bytes} bytes"
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "commit.too-large", detail)
}
