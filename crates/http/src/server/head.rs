//! Owns what the head of every request must say before anything looks at its meaning: for whom it
//! is (RFC 9112, 3.2), how its body is coded, and, where loopback is the only protection, that no
//! foreign web page sent it. Must never look at a route.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header};

use super::settings::HttpSettings;
use crate::json::shorten;
use crate::problem::{FieldError, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a head is held against.
#[derive(Debug)]
pub(super) struct HeadRules {
    /// `None`: any host may be meant. Else these, and every name of loopback.
    hosts: Option<Vec<String>>,
    /// And this one.
    own: Option<String>,
}

impl HeadRules {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        let hosts = settings.checks_hosts().then(|| settings.allowed_hosts.clone());
        Self { hosts, own: settings.own_host.clone() }
    }

    /// Whether the request may be looked at any further.
    pub(super) fn check(
        &self,
        version: Version,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        let target = target(version, uri, headers)?;
        check_transfer_coding(headers)?;
        if let (Some(hosts), Some(target)) = (&self.hosts, &target) {
            let is_own =
                self.own.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(target.host()));
            if !is_own && !is_meant(hosts, target) {
                return Err(misdirected(target));
            }
            check_origin(hosts, target, headers)?;
        }
        check_content_coding(headers)
    }
}

/// Whom the request is for: the authority of its target, which wins over `Host`. Only HTTP/1.0 may
/// leave both out.
fn target(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, Problem> {
    let mut given = headers.get_all(header::HOST).iter();
    let host = given.next();
    if given.next().is_some() {
        return Err(bad_host("given more than once"));
    }
    let host = host
        .map(|value| {
            std::str::from_utf8(value.as_bytes())
                .ok()
                .and_then(authority)
                .ok_or_else(|| bad_host(FORM))
        })
        .transpose()?;
    match uri.authority() {
        Some(target) if authority(target.as_str()).is_none() => Err(bad_host(FORM)),
        // Also of a request target in absolute form, beside which Host has to be there all the
        // same.
        Some(_) if host.is_none() && version == Version::HTTP_11 => Err(bad_host(MISSING)),
        // RFC 9113, 8.3.1: two hosts in one request are two requests to a proxy that stands in
        // front.
        Some(target)
            if version >= Version::HTTP_2
                && host.as_ref().is_some_and(|host| !is_same(host, target)) =>
        {
            Err(bad_host(OTHER))
        }
        Some(target) => Ok(Some(target.clone())),
        None if host.is_none() && version >= Version::HTTP_11 => Err(bad_host(MISSING)),
        None => Ok(host),
    }
}

const FORM: &str = "must be host or host:port, without a user";
const OTHER: &str = "must not be another than :authority";
const MISSING: &str = "a request must say which host it is for";

fn bad_host(detail: &str) -> Problem {
    Problem::bad_header("Host", detail)
}

/// `uri-host [":" port]`, with a host.
fn authority(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let host = authority.host();
    let port = text.strip_prefix(host)?;
    let port = port.strip_prefix(':').or(port.is_empty().then_some(port))?;
    let is_port = port.is_empty()
        || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    let is_host = !host.is_empty() && (!host.starts_with('[') || address(host).is_some());
    (is_port && is_host).then_some(authority)
}

fn is_same(one: &Authority, other: &Authority) -> bool {
    one.as_str().eq_ignore_ascii_case(other.as_str())
}

/// Also in brackets.
fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// Names that mean this machine wherever they are asked (RFC 6761, 6.3), and its addresses.
fn is_loopback(host: &str) -> bool {
    if let Some(address) = address(host) {
        return address.to_canonical().is_loopback();
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_meant(hosts: &[String], target: &Authority) -> bool {
    is_loopback(target.host()) || is_named(hosts, target)
}

/// With or without its port.
fn is_named(hosts: &[String], authority: &Authority) -> bool {
    hosts.iter().any(|named| {
        named.eq_ignore_ascii_case(authority.host())
            || named.eq_ignore_ascii_case(authority.as_str())
    })
}

fn misdirected(target: &Authority) -> Problem {
    let given = shorten(target.host());
    let detail = format!(
        "this listener is for its own machine alone and does not answer as {given}: ask for \
         localhost, or name the host in http.allowed_hosts"
    );
    Problem::new(StatusCode::MISDIRECTED_REQUEST, "host.refused", detail)
        .with_errors(vec![FieldError::header("Host", "is not one of this listener")])
}

/// A browser says where a page came from that sends a request, by `Origin` or `Sec-Fetch-Site`;
/// other clients say neither.
fn check_origin(hosts: &[String], target: &Authority, headers: &HeaderMap) -> Result<(), Problem> {
    let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
    if origins.peek().is_some() {
        return if origins.all(|origin| is_own_origin(hosts, target, origin)) {
            Ok(())
        } else {
            Err(foreign("Origin"))
        };
    }
    let is_near = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    if headers.get_all(SEC_FETCH_SITE).iter().all(is_near) {
        Ok(())
    } else {
        Err(foreign("Sec-Fetch-Site"))
    }
}

/// The origin that the request is for, or one whose host is allowed by name.
fn is_own_origin(hosts: &[String], target: &Authority, origin: &HeaderValue) -> bool {
    let Some(origin) = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok()) else {
        return false;
    };
    let Some(from) = origin.authority().and_then(|from| authority(from.as_str())) else {
        return false;
    };
    let default = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    let same = from.host().eq_ignore_ascii_case(target.host()) && port(&from) == port(target);
    same || is_named(hosts, &from)
}

fn foreign(name: &str) -> Problem {
    let detail = "a page of another origin sent this request, and nothing asks callers who they \
                  are; http.allowed_hosts names hosts whose \
                  pages may";
    Problem::new(StatusCode::FORBIDDEN, "origin.refused", detail)
        .with_errors(vec![FieldError::header(name, "names another origin")])
}

/// The HTTP library takes chunks apart, and knows no other coding (RFC 9112, 6.1).
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            Ok(())
        }
        _ => {
            let problem = Problem::fixed(
                StatusCode::NOT_IMPLEMENTED,
                "transfer-coding.unsupported",
                "Transfer-Encoding may only be chunked",
            );
            Err(problem
                .with_errors(vec![FieldError::header("Transfer-Encoding", "may only be chunked")]))
        }
    }
}

/// RFC 9110, 15.5.16: a refused coding is answered with those that are not.
fn check_content_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let is_identity = |coding: &[u8]| {
        coding.trim_ascii().is_empty() || coding.trim_ascii().eq_ignore_ascii_case(b"identity")
    };
    let is_plain =
        |value: &HeaderValue| value.as_bytes().split(|byte| *byte == b',').all(is_identity);
    if headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain) {
        return Ok(());
    }
    let detail = "a body must come as it is: no Content-Encoding but identity";
    let problem =
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-coding.unsupported", detail);
    let problem = problem.header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Err(problem.with_errors(vec![FieldError::header("Content-Encoding", "may only be identity")]))
}

#[cfg(test)]
mod tests;
