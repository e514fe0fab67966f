//! docker-compose.yml sets only settings that exist, to values that they take, and nginx in front
//! of it names only its services.

use std::error::Error;

use highwater_command::settings::{OwnerSettings, PeerSettings};
use highwater_http::server::HttpSettings;
use highwater_log::LogSettings;
use highwater_projection::settings::ProjectorSettings;
use highwater_query::settings::QuerySettings;
use highwater_runtime::{config::Config, process::SECTIONS};

const COMPOSE: &str = include_str!("../../../../../docker-compose.yml");
const NGINX: &str = include_str!("../../../../../deploy/nginx.conf");

/// `HIGHWATER__SECTION__KEY: value`, wherever it stands.
fn settings() -> Vec<(String, String)> {
    let places = COMPOSE.match_indices("HIGHWATER__").map(|(at, _)| &COMPOSE[at..]);
    let pairs = places.filter_map(|rest| rest.lines().next()?.split_once(": "));
    pairs
        .map(|(key, value)| {
            (key.to_owned(), value.trim_end_matches([' ', '}']).trim_matches('"').to_owned())
        })
        .collect()
}

#[test]
fn the_compose_file_sets_what_exists() -> Result<(), Box<dyn Error>> {
    let settings = settings();
    assert!(settings.len() >= 14, "{settings:?}");
    let config = Config::load_with(None, Some(settings), Vec::new())?;
    config.refuse_unknown(&SECTIONS)?;
    let log: LogSettings = config.section("log")?;
    assert_eq!(log.kafka.split(',').count(), 3);
    let http: HttpSettings = config.section("http")?;
    let peers: PeerSettings = config.section("peers")?;
    assert_eq!(
        (http.listen.port(), peers.allowed),
        (8080, vec!["command-api-1".to_owned(), "command-api-2".to_owned()])
    );
    let (projector, query): (ProjectorSettings, QuerySettings) =
        (config.section("projector")?, config.section("query")?);
    let owner: OwnerSettings = config.section("owner")?;
    for url in [owner.database.url, projector.database.url, query.database.url] {
        assert!(url.ends_with("@postgres/highwater"), "{url}");
    }
    Ok(())
}

#[test]
fn nginx_sends_to_services_that_are_there() {
    let servers: Vec<_> = NGINX
        .lines()
        .filter_map(|line| line.trim().strip_prefix("server ")?.strip_suffix(';'))
        .collect();
    assert_eq!(servers.len(), 4, "{servers:?}");
    for server in servers {
        let (service, port) = server.split_once(':').unwrap_or((server, ""));
        assert!(COMPOSE.contains(&format!("\n  {service}:")), "{service} is no service");
        assert!(COMPOSE.contains(&format!("0.0.0.0:{port}")), "nothing listens on {port}");
    }
}

#[test]
fn a_setting_that_does_not_exist_is_found() -> Result<(), Box<dyn Error>> {
    let config = Config::load_with(
        None,
        Some(vec![("HIGHWATER__OWNER__NO_SUCH".to_owned(), "1".to_owned())]),
        Vec::new(),
    )?;
    assert!(config.section::<OwnerSettings>("owner").is_err());
    Ok(())
}
