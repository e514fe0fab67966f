//! Where an instance is reached: scheme, host and port. Whatever else a URL can say would let an
//! announcement choose what is called at an allowed host.

use std::fmt;

use reqwest::Url;

/// `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Url);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it is no URL")]
    NoUrl,
    #[error("its scheme is neither http nor https")]
    Scheme,
    #[error("it names no host")]
    Host,
    #[error("it names a user or a password")]
    User,
    #[error("it has a path, a query or a fragment")]
    More,
}

impl Address {
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let url = Url::parse(text).map_err(|_| Unusable::NoUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Unusable::Scheme);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Unusable::Host);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Unusable::User);
        }
        // Looked for in the text, too: parsing resolves "/x/..".
        let rest = text.split_once("://").map_or("", |(_, rest)| rest).trim_end();
        let beyond = rest.find(['/', '\\', '?', '#']).map_or("", |at| &rest[at..]);
        if !matches!(beyond, "" | "/")
            || url.path() != "/"
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(Unusable::More);
        }
        Ok(Self(url))
    }

    /// With or without port.
    pub fn is_among(&self, allowed: &[String]) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let with_port = self.0.port_or_known_default().map(|port| format!("{host}:{port}"));
        allowed.iter().any(|allowed| allowed == host || Some(allowed) == with_port.as_ref())
    }

    /// Host, without brackets, and port: for a connection.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        Some((self.0.host_str()?.trim_matches(['[', ']']), self.0.port_or_known_default()?))
    }
}

/// Without a slash at the end: a path follows.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://Commands.example/", "https://commands.example"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(
                Address::parse(text).map(|address| address.to_string()),
                Ok(shown.to_owned()),
                "{text}"
            );
        }
        for (text, why) in [
            ("127.0.0.1:8080", Unusable::NoUrl),
            ("ftp://127.0.0.1", Unusable::Scheme),
            ("file:///etc/passwd", Unusable::Scheme),
            ("http://user@127.0.0.1", Unusable::User),
            ("http://:secret@127.0.0.1", Unusable::User),
            ("http://127.0.0.1/v1", Unusable::More),
            ("http://127.0.0.1/admin/..", Unusable::More),
            ("http://127.0.0.1/?x=1", Unusable::More),
            ("http://127.0.0.1?", Unusable::More),
            ("http://127.0.0.1/#", Unusable::More),
            ("http://127.0.0.1\\x", Unusable::More),
            ("http://", Unusable::NoUrl),
        ] {
            assert_eq!(Address::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_host_is_allowed_with_any_port_or_with_one() {
        let allowed = ["127.0.0.1", "[::1]", "commands:8080"].map(str::to_owned);
        let among =
            |text: &str| Address::parse(text).is_ok_and(|address| address.is_among(&allowed));
        assert!(
            among("http://127.0.0.1:9") && among("http://[::1]:9") && among("http://commands:8080")
        );
        assert!(
            !among("http://commands:8081")
                && !among("http://commands")
                && !among("http://127.0.0.1.example")
        );
    }
}
