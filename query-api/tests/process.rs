//! The query API as a process: how it ends when it cannot start.

use std::{
    net::TcpListener,
    process::{Command, Output},
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Started with these variables and arguments, on a database that is away.
fn ended(
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> Result<Output, Box<dyn std::error::Error>> {
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_query-api"));
    command
        .env("HIGHWATER__QUERY__LISTEN", "127.0.0.1:0")
        .env("HIGHWATER__QUERY__DATABASE__URL", format!("postgres://{nobody}/none"));
    command
        .env("HIGHWATER__START__WAIT_MS", "300")
        .env("HIGHWATER__QUERY__DATABASE__ACQUIRE_TIMEOUT_MS", "200")
        .current_dir(std::env::temp_dir());
    Ok(command.envs(variables.iter().copied()).args(arguments).output()?)
}

#[test]
fn a_wrong_configuration_ends_with_2_and_a_database_that_is_away_with_3() -> Outcome {
    for (variables, arguments, code, says) in [
        (&[("HIGHWATER__LOG__PARTITIONS", "0")][..], &[][..], 2, "log.partitions"),
        (&[("HIGHWATER__QUERY__NOBODY", "1")], &[], 2, "nobody"),
        (&[("HIGHWATER__QUERY__DATABASE__URL", "no url")], &[], 2, "query.database.url"),
        (&[("HIGHWATER__QUERY__LISTEN", "0.0.0.0:0")], &[], 2, "--insecure"),
        (&[("HIGHWATER__TELEMETRY__FILTER", "=,=")], &[], 2, "filter"),
        (&[], &["--nobody"], 2, "--nobody"),
        (&[], &[], 3, "the database cannot be reached"),
    ] {
        let output = ended(variables, arguments)?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(code), "{variables:?} {arguments:?}: {said}");
        assert!(said.contains(says), "{variables:?} {arguments:?}: {said}");
    }
    Ok(())
}
