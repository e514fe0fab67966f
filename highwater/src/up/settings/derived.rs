//! What `up` sets by itself, and what it leaves to those who set it.

use std::num::NonZeroUsize;

use super::{Options, Settings};

fn settings(given: &[(&str, &str)]) -> Settings {
    let options =
        Options { data: "unused".into(), listen: None, kafka: None, database_url: None, development: false, insecure: false, config: None };
    let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Settings::load(&options, given).unwrap()
}

#[test]
fn a_database_on_the_same_processors_has_one_list_more_at_once_than_there_are_processors() {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (key, limit) = settings(&[]).lists_at_once().unwrap();
    assert_eq!(key, "query.lists.limit");
    let limit: usize = limit.parse().unwrap();
    // Never more than a database of its own has.
    assert!(limit == processors + 1 || (limit < processors + 1 && limit > 1), "{limit} lists on {processors} processors");
}

#[test]
fn a_limit_of_lists_that_is_given_stays() {
    assert_eq!(settings(&[("query.lists.limit", "7")]).lists_at_once(), None);
}
