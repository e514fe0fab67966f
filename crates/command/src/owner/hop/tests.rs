use std::sync::Arc;

use highwater_log::Partition;
use highwater_runtime::identity::DeploymentKeys;

use super::*;

const PATH: &str = "/v1/notes/0190163d-8694-739b-aea5-966c26f8ad91/add";

fn deployment(key: char, owners: &str) -> Deployment {
    let keys = DeploymentKeys::parse(&format!("1:{}", key.to_string().repeat(64)))
        .unwrap_or_else(|error| unreachable!("{error}"));
    Deployment::new(Arc::new(keys), &Partition { topic: owners.into(), index: 0 })
}

fn hop() -> Hop {
    Hop {
        to: Uuid::from_u128(1),
        nonce: Uuid::from_u128(2),
        sent_ms: 3,
        within_ms: 4,
        minted: true,
    }
}

fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
    all.iter()
        .filter_map(|(name, value)| Some((name.clone(), HeaderValue::from_str(value).ok()?)))
        .collect()
}

fn of_command() -> HeaderMap {
    headers(&[
        (header::CONTENT_TYPE, "application/json"),
        (IdempotencyKey::NAME, "\"k\""),
        (header::IF_MATCH, "\"v1\""),
    ])
}

#[test]
fn a_hop_is_of_one_command_to_one_instance() {
    let (ours, body) = (deployment('a', "a.owners"), b"{}");
    let mut sent = of_command();
    let seal = hop().seal(&ours, HopRequest { path: PATH, headers: &sent, body });
    sent.insert(HOP, seal.clone());
    let open = |deployment: &Deployment, path, headers: &HeaderMap, body| {
        Hop::open(deployment, HopRequest { path, headers, body })
    };
    assert_eq!(open(&ours, PATH, &sent, body), Some(hop()));
    // What no owner looks at is not part of it.
    let mut more = sent.clone();
    more.insert(header::USER_AGENT, HeaderValue::from_static("proxy"));
    assert_eq!(open(&ours, PATH, &more, body), Some(hop()));

    for foreign in [deployment('b', "a.owners"), deployment('a', "b.owners")] {
        assert_eq!(open(&foreign, PATH, &sent, body), None, "{foreign:?}");
    }
    assert_eq!(open(&ours, "/v1/notes", &sent, body), None);
    assert_eq!(open(&ours, PATH, &sent, b"{ }"), None);
    for name in &OF_COMMANDS {
        let mut changed = sent.clone();
        changed.append(name.clone(), HeaderValue::from_static("more"));
        assert_eq!(open(&ours, PATH, &changed, body), None, "{name} twice");
        if changed.remove(name).is_some() && sent.contains_key(name) {
            assert_eq!(open(&ours, PATH, &changed, body), None, "without {name}");
        }
    }
    let said = seal.to_str().unwrap_or_default();
    for (from, to) in [
        ("1, nonce", "7, nonce"),
        ("2, sent", "7, sent"),
        ("=3", "=7"),
        ("=4", "=7"),
        ("true", "false"),
        (", proof", ",proof"),
    ] {
        let changed = said.replacen(from, to, 1);
        assert_ne!(changed, said, "{from}");
        sent.insert(HOP, HeaderValue::from_str(&changed).unwrap_or(seal.clone()));
        assert_eq!(open(&ours, PATH, &sent, body), None, "{changed}");
    }
    sent.insert(HOP, seal.clone());
    sent.append(HOP, seal);
    assert_eq!(open(&ours, PATH, &sent, body), None, "given twice");
    assert_eq!(open(&ours, PATH, &of_command(), body), None, "not given");
}

#[test]
fn an_answer_is_to_one_hop() {
    let (ours, theirs) = (deployment('a', "a.owners"), deployment('b', "a.owners"));
    let told = headers(&[
        (header::CONTENT_TYPE, "application/json"),
        (header::ETAG, "\"v1\""),
        (IdempotencyKey::REPLAYED, "true"),
    ]);
    for end in End::ALL {
        let answered = |headers, status, body| HopResponse { status, headers, body };
        let seal = hop().seal_answer(&ours, end, answered(&told, StatusCode::CREATED, b"{}"));
        let mut sealed = told.clone();
        sealed.insert(HOP, seal.clone());
        let open = |hop: &Hop, deployment: &Deployment, headers: &HeaderMap, status, body| {
            hop.open_answer(deployment, HopResponse { status, headers, body })
        };
        assert_eq!(open(&hop(), &ours, &sealed, StatusCode::CREATED, b"{}"), Some(end));
        let another = Hop { nonce: Uuid::from_u128(9), ..hop() };
        assert_eq!(
            open(&another, &ours, &sealed, StatusCode::CREATED, b"{}"),
            None,
            "the answer to another hop"
        );
        assert_eq!(open(&hop(), &theirs, &sealed, StatusCode::CREATED, b"{}"), None);
        assert_eq!(open(&hop(), &ours, &sealed, StatusCode::OK, b"{}"), None);
        assert_eq!(open(&hop(), &ours, &sealed, StatusCode::CREATED, b"[]"), None);
        for name in &OF_ANSWERS {
            let mut changed = sealed.clone();
            changed.append(name.clone(), HeaderValue::from_static("more"));
            assert_eq!(
                open(&hop(), &ours, &changed, StatusCode::CREATED, b"{}"),
                None,
                "{name} twice"
            );
        }
        let other = seal.to_str().unwrap_or_default().replacen(end.said(), "other", 1);
        sealed.insert(HOP, HeaderValue::from_str(&other).unwrap_or(seal));
        assert_eq!(open(&hop(), &ours, &sealed, StatusCode::CREATED, b"{}"), None, "{other}");
        assert_eq!(open(&hop(), &ours, &told, StatusCode::CREATED, b"{}"), None, "without a proof");
    }
}

/// A command that its owner sends back unread is no answer to it.
#[test]
fn a_hop_that_is_sent_back_is_no_answer() {
    let ours = deployment('a', "a.owners");
    let mut sent = of_command();
    let seal = hop().seal(&ours, HopRequest { path: PATH, headers: &sent, body: b"{}" });
    sent.insert(HOP, seal);
    assert_eq!(
        hop().open_answer(
            &ours,
            HopResponse { status: StatusCode::OK, headers: &sent, body: b"{}" }
        ),
        None
    );
}
