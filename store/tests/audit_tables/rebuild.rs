//! What `store audit` finds, `store rebuild` names, and mends.

use serde_json::{Value, json};

use super::{Outcome, World, differences, only};
use crate::world::{Copy, SHIPPED};

/// What it printed, and its exit code.
fn rebuilt(copy: &Copy, more: &[&str]) -> Result<(Value, Option<i32>), Box<dyn std::error::Error>> {
    let output = copy.rebuild(more)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = serde_json::from_slice(&output.stdout).map_err(|_| said)?;
    Ok((printed, output.status.code()))
}

fn is_clean(copy: &Copy) -> std::io::Result<bool> {
    Ok(copy.audit(&["--json"])?.status.code() == Some(0))
}

#[tokio::test]
async fn tables_are_made_anew_switched_put_back_and_mended_in_place() -> Outcome {
    let copy = World::shared().await?.copy().await?;
    copy.plant(&format!("UPDATE orders SET carrier = 'DHL' WHERE id = '{SHIPPED}'")).await?;
    let wrong = differences(&copy.audit(&["--json"])?)?;
    only(&wrong, &format!("orders/{SHIPPED}"), "carrier");

    let (compared, code) = rebuilt(&copy, &["orders"])?;
    assert_eq!(
        (code, &compared["rows_live"], &compared["differ"]),
        (Some(1), &json!(3), &json!(1))
    );
    let row = &compared["rows"][0];
    assert_eq!(row["key"], json!([SHIPPED]), "{compared}");
    assert_eq!(
        row["columns"],
        json!([{ "name": "carrier", "live": "DHL", "rebuilt": "UPS" }]),
        "{compared}"
    );
    assert!(
        row["since"]["event"].as_str().is_some_and(|event| event.starts_with("order.shipped.v")),
        "{compared}"
    );

    assert_eq!(rebuilt(&copy, &["orders", "--switch"])?.0["live"], 2);
    assert!(is_clean(&copy)?);
    assert_eq!(rebuilt(&copy, &["orders", "--rollback"])?.0["live"], 3);
    assert_eq!(differences(&copy.audit(&["--json"])?)?, wrong);
    assert_eq!(rebuilt(&copy, &["orders", "--status"])?.0, json!({ "live": 3, "beside": "next" }));
    assert_eq!(rebuilt(&copy, &["orders", "--drop"])?.0, json!({ "dropped": true }));
    assert_eq!(rebuilt(&copy, &["orders", "--id", SHIPPED])?.0, json!({ "rows": 1 }));
    assert!(is_clean(&copy)?);
    assert_eq!(rebuilt(&copy, &["orders", "--id", SHIPPED])?.0, json!({ "rows": 0 }));

    // Sums have rows of no aggregate.
    copy.plant("UPDATE sales_daily SET units = units + 1").await?;
    let mended: u64 = (0..8).try_fold(0, |mended, partition| {
        let (printed, _) = rebuilt(&copy, &["sales_daily", "--partition", &partition.to_string()])?;
        Ok::<_, Box<dyn std::error::Error>>(mended + printed["rows"].as_u64().unwrap_or(0))
    })?;
    assert!(mended > 0 && is_clean(&copy)?, "{mended}");

    for (refused, says) in [
        (&["snapshots"][..], "owners load"),
        (&["operations"], "forgets"),
        (&["nothing"], "there are: "),
        (&["orders", "--rollback"], "no previous generation"),
    ] {
        let output = copy.rebuild(refused)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() != Some(0) && said.contains(says), "{said}");
    }
    Ok(())
}
