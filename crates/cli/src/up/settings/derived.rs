//! What `up` sets by itself, and what it leaves to those who set it.

use std::num::NonZeroUsize;

use super::{DatabaseChoice, Options, Settings};

fn options() -> Options {
    Options {
        data: "unused".into(),
        listen: None,
        kafka: None,
        database_url: None,
        development: false,
        insecure: false,
        config: None,
    }
}

fn settings(given: &[(&str, &str)]) -> Settings {
    let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Settings::load(&options(), given).unwrap()
}

#[test]
fn a_database_on_the_same_processors_has_one_list_more_at_once_than_there_are_processors() {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (key, limit) = settings(&[]).lists_at_once().unwrap();
    assert_eq!(key, "query.lists.limit");
    let limit: usize = limit.parse().unwrap();
    // Never more than a database of its own has.
    assert!(
        limit == processors + 1 || (limit < processors + 1 && limit > 1),
        "{limit} lists on {processors} processors"
    );
}

#[test]
fn a_limit_of_lists_that_is_given_stays() {
    assert_eq!(settings(&[("query.lists.limit", "7")]).lists_at_once(), None);
}

/// With the databases of these services in the settings, and that of the flag.
fn named(
    services: &[&str],
    flag: Option<&str>,
) -> Result<DatabaseChoice, Box<super::super::Error>> {
    let given: Vec<_> = services
        .iter()
        .map(|service| (format!("{service}.database.url"), format!("postgres://{service}/d")))
        .collect();
    let given: Vec<_> = given.iter().map(|(key, url)| (key.as_str(), url.as_str())).collect();
    settings(&given).database(&Options { database_url: flag.map(str::to_owned), ..options() })
}

#[test]
fn a_database_that_is_named_is_used_and_one_of_three_is_not_enough() {
    let all = ["owner", "projector", "query"];
    assert!(
        matches!(named(&all, None), Ok(DatabaseChoice::InSettings(url)) if url == "postgres://projector/d")
    );
    assert!(matches!(
        named(&all, Some("postgres://flag/d")),
        Ok(DatabaseChoice::Once(url)) if url == "postgres://flag/d"
    ));
    assert!(matches!(named(&[], None), Ok(DatabaseChoice::Private)));
    for one in all {
        let refused = named(&[one], None).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.starts_with(&format!("{one}.database.url is set and ")), "{refused}");
    }
}
