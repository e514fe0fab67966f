//! Owns `If-Match`, `If-None-Match` and `ETag` (RFC 9110). Versions are read out of every form of
//! tag that we give: `"v7"`, `"g3-v8"`, `"g3-v8-r41"`, each with a suffix for codings or fields,
//! weak or strong: proxies that compress weaken a tag or add to it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use data_encoding::HEXLOWER;

use crate::json::shorten;
use crate::number::canonical;
use crate::problem::Problem;

const MOST_TAGS: usize = 64;

/// What a proxy appends, after one hyphen or two, to the tag of what it compressed (RFC 9110,
/// 8.8.3.3).
const CODINGS: [&str; 4] = ["gzip", "br", "zstd", "deflate"];

/// The versions that a command accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: must exist.
    Any,
    /// Any one of these; never empty.
    Versions(Vec<u64>),
}

impl IfMatch {
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(text) = super::text(headers, &header::IF_MATCH, "If-Match")? else {
            return Ok(None);
        };
        Self::parse(&text).map(Some)
    }

    /// What a command's headers expect, `If-None-Match: *` included: there is nothing yet, as
    /// `If-Match: "v0"` says.
    pub fn of_command(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        const NAME: &str = "If-None-Match";
        let (expected, unless) =
            (Self::from_headers(headers)?, IfNoneMatch::from_headers(headers)?);
        match (unless, expected) {
            (None, expected) => Ok(expected),
            (Some(IfNoneMatch::Tags(_)), _) => Err(Problem::bad_header(
                NAME,
                "must be * on a command: it must not exist yet; If-Match names the versions that \
                 are right",
            )),
            (Some(IfNoneMatch::Any), None) => Ok(Some(Self::Versions(vec![0]))),
            (Some(IfNoneMatch::Any), Some(Self::Versions(versions))) if versions.contains(&0) => {
                Ok(Some(Self::Versions(vec![0])))
            }
            (Some(IfNoneMatch::Any), Some(_)) => Err(Problem::bad_header(
                NAME,
                "contradicts If-Match: one says that it must not exist, the other that it must",
            )),
        }
    }

    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let tags = tags(text).map_err(|detail| Problem::bad_header("If-Match", detail))?;
        let versions = tags.iter().map(|tag| {
            version_of(tag).ok_or_else(|| {
                let given = shorten(tag);
                Problem::bad_header(
                    "If-Match",
                    format!(
                        "\"{given}\" names no version; write \"v7\", or an ETag as it was given"
                    ),
                )
            })
        });
        versions.collect::<Result<_, _>>().map(Self::Versions)
    }

    pub fn accepts(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::Versions(versions) => versions.contains(&version),
        }
    }

    /// In the form that every release reads: `*`, or each version as a tag.
    pub fn to_header(&self) -> HeaderValue {
        let text = match self {
            Self::Any => "*".to_owned(),
            Self::Versions(versions) => versions
                .iter()
                .map(|version| format!("\"v{version}\""))
                .collect::<Vec<_>>()
                .join(", "),
        };
        // Tag characters by construction, so the fallback, which matches nothing, is never used.
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }

    /// For the command's record: `None` for [`IfMatch::Any`].
    pub fn versions(&self) -> Option<&[u64]> {
        match self {
            Self::Any => None,
            Self::Versions(versions) => Some(versions),
        }
    }
}

/// The representations that a reader has already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfNoneMatch {
    Any,
    /// Opaque tags without quotes and weakness.
    Tags(Vec<String>),
}

impl IfNoneMatch {
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(text) = super::text(headers, &header::IF_NONE_MATCH, "If-None-Match")? else {
            return Ok(None);
        };
        Self::parse(&text).map(Some)
    }

    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        tags(text).map(Self::Tags).map_err(|detail| Problem::bad_header("If-None-Match", detail))
    }

    /// The weak comparison of RFC 9110, 8.8.3.2.
    pub fn matches(&self, etag: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| etag.is_named_by(tag)),
        }
    }
}

/// What a query asks of what is there (RFC 9110, 13.2.2): first `If-Match`, then `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// Of the same form.
    only_if: Option<IfNoneMatch>,
    unless: Option<IfNoneMatch>,
}

impl Conditions {
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let only_if = match super::text(headers, &header::IF_MATCH, "If-Match")? {
            Some(text) if text.trim() == "*" => Some(IfNoneMatch::Any),
            Some(text) => Some(IfNoneMatch::Tags(
                tags(&text).map_err(|detail| Problem::bad_header("If-Match", detail))?,
            )),
            None => None,
        };
        Ok(Self { only_if, unless: IfNoneMatch::from_headers(headers)? })
    }

    /// Whether the caller has it already (304); the error is the 412. `etag`: of what is there; not
    /// everything has one.
    pub fn is_known(&self, etag: Option<&ETag>) -> Result<bool, Problem> {
        let holds = match (&self.only_if, etag) {
            (None | Some(IfNoneMatch::Any), _) => true,
            (Some(IfNoneMatch::Tags(tags)), Some(etag)) => {
                tags.iter().any(|tag| etag.is_named_by(tag) || etag.is_version(tag))
            }
            (Some(IfNoneMatch::Tags(_)), None) => false,
        };
        if holds {
            return Ok(self
                .unless
                .as_ref()
                .zip(etag)
                .is_some_and(|(unless, etag)| unless.matches(etag)));
        }
        let detail = "what is there now has another ETag than those of If-Match";
        let problem = Problem::fixed(StatusCode::PRECONDITION_FAILED, "etag.mismatch", detail);
        Err(match etag {
            Some(etag) => problem.header(ETag::name(), etag.to_header()),
            None => problem,
        })
    }
}

/// An entity tag that we give.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(String);

impl ETag {
    /// `"v8"`: the write side.
    pub fn version(version: u64) -> Self {
        Self(format!("v{version}"))
    }

    /// `"g3-v8"`: the read side, by projection generation.
    pub fn generation(generation: u64, version: u64) -> Self {
        Self(format!("g{generation}-v{version}"))
    }

    /// `"g3-v8-r41"`: a composed view with a row revision.
    pub fn revision(generation: u64, version: u64, revision: u64) -> Self {
        Self(format!("g{generation}-v{version}-r{revision}"))
    }

    /// `"c0a1b2..."`: a list, by a digest of what it says.
    pub fn content(digest: &[u8]) -> Self {
        Self(format!("c{}", HEXLOWER.encode(digest)))
    }

    /// With a suffix for a coding or a set of fields; characters that a tag cannot hold are left
    /// out.
    #[must_use]
    pub fn with_suffix(mut self, suffix: &str) -> Self {
        self.0.push('-');
        self.0.extend(
            suffix.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')),
        );
        self
    }

    /// The same tag, also as a proxy names what it compressed.
    fn is_named_by(&self, tag: &str) -> bool {
        tag.strip_prefix(&self.0).is_some_and(|rest| {
            let coding = rest.strip_prefix("--").or_else(|| rest.strip_prefix('-'));
            rest.is_empty() || coding.is_some_and(|coding| CODINGS.contains(&coding))
        })
    }

    /// The tag that a command gave for this version: `"v8"`.
    fn is_version(&self, tag: &str) -> bool {
        tag.strip_prefix('v')
            .and_then(canonical)
            .is_some_and(|version| version_of(&self.0) == Some(version))
    }

    pub fn to_header(&self) -> HeaderValue {
        // Tag characters by construction, so the fallback is never used.
        HeaderValue::from_str(&self.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }

    pub fn name() -> HeaderName {
        header::ETAG
    }
}

impl std::fmt::Display for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The opaque parts of a list of entity tags.
fn tags(text: &str) -> Result<Vec<String>, String> {
    const FORM: &str = "a list of entity tags in double quotes, or *";
    let mut tags = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let opaque = rest.strip_prefix("W/").unwrap_or(rest);
        let quoted = opaque.strip_prefix('"').ok_or_else(|| format!("must be {FORM}"))?;
        let (tag, after) = quoted
            .split_once('"')
            .ok_or_else(|| format!("has an unclosed quote; it must be {FORM}"))?;
        if !tag.bytes().all(|byte| byte == b'!' || (b'#'..=b'~').contains(&byte) || byte >= 0x80) {
            return Err("holds a character that an entity tag cannot hold".to_owned());
        }
        if tags.len() == MOST_TAGS {
            return Err(format!("names more than {MOST_TAGS} tags"));
        }
        tags.push(tag.to_owned());
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(',') {
            return Err(format!("must be {FORM}"));
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    if tags.is_empty() { Err(format!("is empty; it must be {FORM}")) } else { Ok(tags) }
}

/// `[g<number>-]v<number>[-suffix]`, whatever the suffix is made of.
fn version_of(tag: &str) -> Option<u64> {
    let plain = match tag.strip_prefix('g') {
        Some(rest) => {
            let (generation, plain) = rest.split_once('-')?;
            canonical::<u64>(generation)?;
            plain
        }
        None => tag,
    };
    let (version, suffix) = plain.split_once('-').unwrap_or((plain, "suffix"));
    canonical(version.strip_prefix('v')?).filter(|_| !suffix.ends_with('-') && !suffix.is_empty())
}
