use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Server {
    port: u16,
    deadline_ms: u64,
    name: String,
    fast: bool,
    peers: Vec<String>,
    limit: Option<u32>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            port: 80,
            deadline_ms: 5,
            name: "none".to_owned(),
            fast: false,
            peers: Vec::new(),
            limit: None,
        }
    }
}

fn file(name: &str, text: &str) -> std::io::Result<PathBuf> {
    let path =
        std::env::temp_dir().join(format!("service-config-{}-{name}.toml", std::process::id()));
    std::fs::write(&path, text)?;
    Ok(path)
}

fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn from_flags(given: &[(&str, &str)]) -> Result<Config, Error> {
    Config::load_with(None, Some(Vec::new()), pairs(given))
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() -> Result<(), Box<dyn std::error::Error>> {
    let path = file(
        "layers",
        "[server]\nport = 1\ndeadline_ms = 1\nname = \"file\"\npeers = [\"a\", \"b\"]\n",
    )?;
    let environment = pairs(&[
        ("HIGHWATER__SERVER__PORT", "2"),
        ("HIGHWATER__SERVER__DEADLINE_MS", "2"),
        ("OTHER__SERVER__NAME", "x"),
    ]);
    let config = Config::load_with(
        Some(&path),
        Some(environment),
        pairs(&[("server.port", "3"), ("server.fast", "true")]),
    );
    std::fs::remove_file(&path)?;
    let server: Server = config?.section("server")?;
    let peers = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(
        server,
        Server { port: 3, deadline_ms: 2, name: "file".to_owned(), fast: true, peers, limit: None }
    );
    Ok(())
}

#[test]
fn an_absent_section_is_its_default() -> Result<(), Error> {
    let config = from_flags(&[("other.port", "3")])?;
    assert_eq!(config.section::<Server>("server")?, Server::default());
    assert_eq!(Config::default().section::<Server>("server")?, Server::default());
    Ok(())
}

#[test]
fn text_from_flags_stays_text_and_becomes_numbers_where_asked() -> Result<(), Error> {
    let server: Server =
        from_flags(&[("server.name", "007"), ("server.limit", "7")])?.section("server")?;
    assert_eq!((server.name.as_str(), server.limit), ("007", Some(7)));
    Ok(())
}

#[test]
fn a_list_from_a_flag_or_variable_is_in_brackets() -> Result<(), Error> {
    for (given, expected) in
        [("[a, \"b\"]", vec!["a", "b"]), ("[]", vec![]), ("[ http://x:1 ]", vec!["http://x:1"])]
    {
        let environment = pairs(&[("HIGHWATER__SERVER__PEERS", given)]);
        let server: Server =
            Config::load_with(None, Some(environment), Vec::new())?.section("server")?;
        assert_eq!(server.peers, expected, "{given}");
        assert_eq!(from_flags(&[("server.peers", given)])?.section::<Server>("server")?, server);
    }
    Ok(())
}

#[test]
fn an_unusable_variable_is_named() {
    let environment = pairs(&[("HIGHWATER__SERVER__", "1")]);
    let error = Config::load_with(None, Some(environment), Vec::new())
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(error.contains("HIGHWATER__SERVER__"), "{error}");
}

#[test]
fn a_bad_value_or_key_says_which_what_and_what_is_allowed() -> Result<(), Error> {
    let cases: [(&str, &str, &[&str]); 7] = [
        ("server.port", "http", &["server.port", "http", "integer"]),
        ("server.port", "70000", &["server.port", "70000", "16 bit"]),
        ("server.port", "-1", &["server.port", "-1"]),
        ("server.fast", "perhaps", &["server.fast", "perhaps", "boolean"]),
        ("server.prot", "1", &["server", "prot", "port", "deadline_ms"]),
        ("server.peers", "a", &["server.peers", "sequence"]),
        ("server", "1", &["server"]),
    ];
    for (key, value, words) in cases {
        let error = from_flags(&[(key, value)])?
            .section::<Server>("server")
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        for word in words {
            assert!(error.contains(word), "{key}={value}: `{word}` is missing in: {error}");
        }
    }
    Ok(())
}

#[test]
fn an_unknown_section_is_refused_with_the_known_ones() -> Result<(), Error> {
    let config = from_flags(&[("server.port", "1"), ("sevrer.port", "1")])?;
    let error = config
        .refuse_unknown(&["server", "log"])
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(error.contains("sevrer") && error.contains("server, log"), "{error}");
    assert!(config.refuse_unknown(&["server", "sevrer"]).is_ok());
    let error = from_flags(&[("server", "1")])?
        .refuse_unknown(&["server"])
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(error.contains("server") && error.contains("not a section"), "{error}");
    Ok(())
}

#[test]
fn a_file_that_is_absent_or_malformed_is_named() -> std::io::Result<()> {
    let absent = std::env::temp_dir().join("service-config-absent.toml");
    let malformed = file("malformed", "[server\nport = 1")?;
    for path in [&absent, &malformed] {
        let error = Config::load_with(Some(path), Some(Vec::new()), Vec::new())
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
    std::fs::remove_file(malformed)
}

#[test]
fn an_unusable_flag_is_named() {
    let error = from_flags(&[("server..port", "1")])
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(error.contains("server..port"), "{error}");
}

#[test]
fn the_redacted_form_hides_secrets_and_shows_the_rest() -> Result<(), Error> {
    let config = from_flags(&[
        ("database.url", "postgres://app:hunter2@db.internal:5432/app?password=hunter2&x=1"),
        ("database.password", "hunter2"),
        ("database.password_file", "/etc/pw"),
        ("peers.allowed", "http://a:hunter2@x/,http://b:1"),
        ("http.port", "80"),
    ])?;
    let redacted = config.redacted();
    assert_eq!(
        redacted["database.url"],
        "postgres://app:[redacted]@db.internal:5432/app?password=[redacted]&x=1"
    );
    assert_eq!(redacted["database.password"], "[redacted]");
    assert_eq!(redacted["database.password_file"], "/etc/pw");
    assert_eq!(redacted["peers.allowed"], "http://a:[redacted]@x/,http://b:1");
    assert_eq!(redacted["http.port"], "80");
    assert!(!format!("{config:?}").contains("hunter2"));
    Ok(())
}

#[test]
fn a_secret_type_reads_from_a_section() -> Result<(), Error> {
    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Database {
        password: Option<SecretString>,
    }
    let database: Database =
        from_flags(&[("database.password", "hunter2")])?.section("database")?;
    let password = database.password.as_ref().map(secrecy::ExposeSecret::expose_secret);
    assert_eq!(password, Some("hunter2"));
    Ok(())
}
