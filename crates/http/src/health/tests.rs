use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use tower::ServiceExt;

use highwater_runtime::{
    health::{Check, Requirement},
    shutdown::Shutdown,
};

use super::*;

fn answers(result: Result<(), String>) -> Check {
    Arc::new(move || {
        let result = result.clone();
        Box::pin(async move { result })
    })
}

async fn get(health: &Health, path: &str) -> Result<(u16, Value), Box<dyn std::error::Error>> {
    let request = Request::get(path).body(Body::empty())?;
    let response = routes(health).oneshot(request).await?;
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 100_000).await?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

#[tokio::test]
async fn what_is_missing_is_named() -> Result<(), Box<dyn std::error::Error>> {
    let health = Health::new(&Shutdown::new(), None);
    assert_eq!(get(&health, "/readyz").await?.0, 200);
    health.register("log", Requirement::Ready, answers(Err("no broker answers".to_owned())));
    health.register("cache", Requirement::Degraded, answers(Err("cold".to_owned())));
    health.register("disk", Requirement::Ready, answers(Ok(())));
    let (status, body) = get(&health, "/readyz").await?;
    assert_eq!((status, &body["code"]), (503, &json!("not-ready")));
    assert_eq!(
        (&body["missing"], &body["degraded"]),
        (&json!({ "log": "no broker answers" }), &json!({ "cache": "cold" }))
    );
    health.register("log", Requirement::Ready, answers(Ok(())));
    assert_eq!(
        get(&health, "/readyz").await?,
        (200, json!({ "status": "degraded", "degraded": { "cache": "cold" } }))
    );
    assert_eq!(get(&health, "/livez").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn draining_is_never_ready_and_always_alive() -> Result<(), Box<dyn std::error::Error>> {
    let shutdown = Shutdown::new();
    let health = Health::new(&shutdown, None);
    health.register("log", Requirement::Ready, answers(Ok(())));
    shutdown.soft.cancel();
    let (status, body) = get(&health, "/readyz").await?;
    assert_eq!((status, &body["draining"]), (503, &json!(true)));
    assert_eq!(get(&health, "/livez").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn metrics_are_shown_when_they_are_recorded() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(get(&Health::new(&Shutdown::new(), None), "/metrics").await?.0, 404);
    let telemetry = highwater_runtime::telemetry::init(
        &highwater_runtime::telemetry::TelemetrySettings::default(),
    )?;
    metrics::counter!("health_test_total").increment(3);
    let health = Health::new(&Shutdown::new(), Some(telemetry.metrics));
    let response = routes(&health).oneshot(Request::get("/metrics").body(Body::empty())?).await?;
    let bytes = to_bytes(response.into_body(), 1_000_000).await?;
    assert!(String::from_utf8_lossy(&bytes).contains("health_test_total 3"));
    Ok(())
}
