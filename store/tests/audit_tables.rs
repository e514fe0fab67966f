//! Each fault that the audit of tables claims to find, planted in tables or a log that the services
//! made: `store audit` names it and ends with exit code 1. Faults of the log alone are in
//! `audit_faults.rs`.

#[path = "audit_tables/planted_log.rs"]
mod planted_log;
#[path = "audit_tables/rebuild.rs"]
mod rebuild;
#[path = "audit_tables/world.rs"]
mod world;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use highwater::{
    audit::report::{Account, Report},
    cli::Application,
    log::{LocalReader, RawReader},
};
use serde_json::Value;
use world::{APPLE, CANCELLED, Outcome, RETURNED, SHIPPED, Scratch, Up, World, audit};

/// Differences as `at: what`, of a planted fault.
async fn found(sql: &str) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let copy = World::shared().await?.copy().await?;
    copy.plant(sql).await?;
    differences(&copy.audit(&["--json"])?)
}

fn differences(output: &std::process::Output) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}{said}", String::from_utf8_lossy(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let listed = report["differences"].as_array().ok_or("differences is a list")?;
    assert_eq!(report["differences_found"], listed.len());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(listed
        .iter()
        .map(|difference| format!("{}: {}", text(&difference["at"]), text(&difference["what"])))
        .collect())
}

#[track_caller]
fn only(found: &[String], at: &str, what: &str) {
    assert!(
        matches!(found, [one] if one.starts_with(at) && one.contains(what)),
        "not only `{at}: {what}`: {found:#?}"
    );
}

#[track_caller]
fn among(found: &[String], at: &str, what: &str) {
    assert!(
        found.iter().any(|one| one.starts_with(at) && one.contains(what)),
        "no `{at}: {what}`: {found:#?}"
    );
}

#[tokio::test]
async fn tables_as_the_services_made_them_are_clean_and_counted() -> Outcome {
    let copy = World::shared().await?.copy().await?;
    let output = copy.audit(&[])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let rows = |table: &str| {
        let line = text
            .lines()
            .find(|line| line.split_whitespace().next() == Some(table))
            .unwrap_or_default();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    for (table, count) in [
        ("outcomes", "23"),
        ("snapshots", "7"),
        ("orders", "3"),
        ("catalog", "2"),
        ("stock_levels", "2"),
    ] {
        assert_eq!(rows(table), [count, "0", "checked"], "{table}: {text}");
    }
    for table in ["database_identity", "checkpoints", "seen_filters", "sales_daily"] {
        assert!(rows(table).first().is_some_and(|count| count != "0"), "{table}: {text}");
    }
    assert!(text.ends_with("clean: no difference found\n"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_lost_row_of_every_table() -> Outcome {
    for (table, key) in [("orders", SHIPPED), ("catalog", APPLE), ("stock_levels", APPLE)] {
        only(
            &found(&format!("DELETE FROM {table} WHERE id = '{key}'")).await?,
            &format!("{table}/{key}"),
            "the row is missing",
        );
    }
    let snapshot =
        found(&format!("DELETE FROM snapshots WHERE aggregate_id = '{CANCELLED}'")).await?;
    only(&snapshot, &format!("snapshots/{CANCELLED}"), "the row is missing");
    let sum = found("DELETE FROM sales_daily WHERE day = '2017-05-03' AND department = 'PRODUCE'")
        .await?;
    only(&sum, "sales_daily/2017-05-03/PRODUCE", "the row is missing");
    Ok(())
}

#[tokio::test]
async fn a_doubled_row() -> Outcome {
    let twice = format!(
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey; INSERT INTO orders SELECT * FROM orders \
         WHERE id = '{SHIPPED}'"
    );
    only(&found(&twice).await?, &format!("orders/{SHIPPED}"), "the row is there more than once");
    let under_another_id =
        "INSERT INTO orders SELECT gen_random_uuid(), partition, version, status, customer_id, \
         currency, placed_at, units,
                            total_minor, lines, reason, carrier FROM orders LIMIT 1";
    only(&found(under_another_id).await?, "orders/", "nothing in the log makes this row");
    Ok(())
}

#[tokio::test]
async fn a_doubled_sum() -> Outcome {
    let other_partition = "INSERT INTO sales_daily SELECT day, department, (partition + 1) % 8, \
                           orders, lines, units, total_minor
                           FROM sales_daily WHERE day = '2017-05-03' AND department = ''";
    only(
        &found(other_partition).await?,
        "sales_daily/2017-05-03/",
        "nothing in the log makes this row",
    );
    Ok(())
}

#[tokio::test]
async fn a_stale_snapshot() -> Outcome {
    let older =
        format!("UPDATE snapshots SET version = version - 1 WHERE aggregate_id = '{RETURNED}'");
    only(
        &found(&older).await?,
        &format!("snapshots/{RETURNED}"),
        "the row is stale: it has version 4, the log makes 5",
    );
    let as_it_was = format!(
        "UPDATE snapshots SET state = convert_to(replace(convert_from(state, 'UTF8'), \
         '\"shipped\"', '\"confirmed\"'), 'UTF8')
         WHERE aggregate_id = '{SHIPPED}'"
    );
    only(&found(&as_it_was).await?, &format!("snapshots/{SHIPPED}"), "state is {");
    Ok(())
}

#[tokio::test]
async fn a_wrong_sum() -> Outcome {
    let more = found(
        "UPDATE sales_daily SET total_minor = total_minor + 1 WHERE day = \
                      '2017-05-02' AND department = 'GROCERY'",
    )
    .await?;
    only(
        &more,
        "sales_daily/2017-05-02/GROCERY",
        "total_minor is \"501\", the log makes it \"500\"",
    );
    let not_taken_back =
        found("UPDATE sales_daily SET orders = 1 WHERE day = '2017-05-01' AND department = ''")
            .await?;
    only(&not_taken_back, "sales_daily/2017-05-01/", "orders is \"1\", the log makes it \"0\"");
    Ok(())
}

#[tokio::test]
async fn a_row_of_the_future() -> Outcome {
    let version =
        found(&format!("UPDATE orders SET version = version + 1 WHERE id = '{RETURNED}'")).await?;
    only(
        &version,
        &format!("orders/{RETURNED}"),
        "the row is of the future: it has version 6, the log makes 5",
    );
    let unread = format!(
        "UPDATE checkpoints AS c SET next_offset = 0 FROM orders AS o
         WHERE c.projection = 'orders' AND c.partition = o.partition AND o.id = '{RETURNED}'"
    );
    let found_unread = found(&unread).await?;
    among(
        &found_unread,
        &format!("orders/{RETURNED}"),
        "the row is of the future: nothing below offset 0",
    );
    among(&found_unread, "checkpoints/orders.1/order/", "foreign identity");
    let outcome =
        found("UPDATE outcomes SET next_offset = 1000000 WHERE verdict = 'rejected'").await?;
    among(&outcome, "outcomes/", "the row is of the future");
    among(&outcome, "outcomes/", "the row is missing");
    Ok(())
}

#[tokio::test]
async fn a_missing_outcome() -> Outcome {
    only(
        &found("DELETE FROM outcomes WHERE verdict = 'rejected'").await?,
        "outcomes/",
        "the row is missing",
    );
    Ok(())
}

#[tokio::test]
async fn an_outcome_that_says_something_else() -> Outcome {
    for (change, what) in [
        ("verdict = 'unchanged'", "verdict is \"unchanged\", the log makes it \"rejected\""),
        ("fingerprint = fingerprint || '\\x00'", "fingerprint is "),
        ("reason = '{}'", "reason is {}, the log makes it {"),
        ("actor = gen_random_uuid()", "actor is \""),
        ("version = version + 1", "the row is of the future"),
        ("next_offset = next_offset - 1", "next_offset is "),
    ] {
        among(
            &found(&format!("UPDATE outcomes SET {change} WHERE verdict = 'rejected'")).await?,
            "outcomes/",
            what,
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_column_that_no_event_set() -> Outcome {
    for (sql, at, what) in [
        (
            format!("UPDATE orders SET carrier = 'DHL' WHERE id = '{SHIPPED}'"),
            format!("orders/{SHIPPED}"),
            "carrier is \"DHL\"",
        ),
        (
            format!(
                "UPDATE orders SET placed_at = placed_at + interval '1 microsecond' WHERE id = \
                 '{SHIPPED}'"
            ),
            format!("orders/{SHIPPED}"),
            "placed_at is \"2017-05-03T23:59:59.500001Z\"",
        ),
        (
            format!(
                "UPDATE orders SET lines = jsonb_set(lines, '{{0,quantity}}', '9') WHERE id = \
                 '{SHIPPED}'"
            ),
            format!("orders/{SHIPPED}"),
            "lines is [",
        ),
        (
            format!("UPDATE catalog SET brand = NULL WHERE id = '{APPLE}'"),
            format!("catalog/{APPLE}"),
            "brand is null",
        ),
        (
            format!("UPDATE stock_levels SET reserved = 0 WHERE id = '{APPLE}'"),
            format!("stock_levels/{APPLE}"),
            "reserved is 0",
        ),
    ] {
        among(&found(&sql).await?, &at, what);
    }
    Ok(())
}

#[tokio::test]
async fn a_database_that_the_owners_do_not_load_from() -> Outcome {
    let foreign = found("UPDATE database_identity SET id = gen_random_uuid()").await?;
    only(&foreign, "database_identity/", "foreign database: the owners of this log load from");
    Ok(())
}

#[tokio::test]
async fn a_foreign_identity() -> Outcome {
    let foreign = "UPDATE checkpoints SET identity = gen_random_uuid() WHERE projection = 'orders' \
                   AND partition = 3";
    only(
        &found(foreign).await?,
        "checkpoints/orders.1/order/3",
        "foreign identity: the checkpoint belongs to the history",
    );
    Ok(())
}

#[tokio::test]
async fn a_checkpoint_of_another_witness() -> Outcome {
    let other = "UPDATE checkpoints SET witness_writer = gen_random_uuid() WHERE projection = \
                 'catalog' AND partition = 0";
    only(&found(other).await?, "checkpoints/catalog.1/product/0", "witness_writer is ");
    Ok(())
}

#[tokio::test]
async fn a_checkpoint_ahead_of_the_log() -> Outcome {
    let ahead = "UPDATE checkpoints SET next_offset = next_offset + 1000 WHERE projection = \
                 'sales_daily' AND partition = 5";
    only(
        &found(ahead).await?,
        "checkpoints/sales_daily.1/order/5",
        "the checkpoint is ahead of the log: it is at offset ",
    );
    Ok(())
}

#[tokio::test]
async fn rows_of_partitions_and_categories_that_the_log_does_not_have() -> Outcome {
    let partition =
        found(&format!("UPDATE catalog SET partition = 99 WHERE id = '{APPLE}'")).await?;
    among(&partition, &format!("catalog/{APPLE}"), "the log has no such partition");
    among(&partition, &format!("catalog/{APPLE}"), "the row is missing");
    let category = found(&format!(
        "UPDATE snapshots SET category = 'other' WHERE aggregate_id = '{APPLE}' AND \
                        category = 'product'"
    ))
    .await?;
    among(&category, "snapshots/other/", "the log has no such partition");
    among(&category, &format!("snapshots/{APPLE}"), "the row is missing");
    Ok(())
}

#[tokio::test]
async fn a_filter_that_holds_too_little() -> Outcome {
    let empty = "UPDATE seen_filters SET bits = decode(repeat('00', length(bits)), 'hex') WHERE \
                 category = 'product'";
    among(&found(empty).await?, "seen_filters/product/", "the filter does not contain ");
    let ahead = found(
        "UPDATE seen_filters SET next_offset = next_offset + 1000 WHERE category = 'product'",
    )
    .await?;
    among(&ahead, "seen_filters/product/", "and the checkpoint is at ");
    let cut = found("UPDATE seen_filters SET bits = 'x'").await?;
    among(&cut, "seen_filters/order/", "the filter is damaged");
    Ok(())
}

/// What is known of one that waits.
const PARKED: &str = "projection, generation, category, partition, aggregate_id, schema, version, \
                      from_offset, fingerprint, error, attempts, parked_at, tried_at";

/// `id` as `projection` parks it from its first event on.
fn parked(projection: &str, id: &str) -> String {
    let of = format!("category = 'order' AND aggregate_id = '{id}' AND verdict = 'accepted'");
    format!(
        "INSERT INTO parked_aggregates ({PARKED})
         SELECT '{projection}', 1, 'order', partition, aggregate_id, 'order.placed.v2', 1,
             min(next_offset) - 1, '0123456789ab', 'an error', 1, now(), now()
         FROM outcomes WHERE {of} GROUP BY partition, aggregate_id;
         INSERT INTO parked_commits
         SELECT '{projection}', 1, 'order', partition, aggregate_id, next_offset - 1, next_offset,
             1, gen_random_uuid(), 0, 1
         FROM outcomes WHERE {of};"
    )
}

#[tokio::test]
async fn what_is_parked_is_said_and_no_difference() -> Outcome {
    let copy = World::shared().await?.copy().await?;
    let (rows, sums) = (parked("orders", RETURNED), parked("sales_daily", SHIPPED));
    let lacking = format!(
        "DELETE FROM orders WHERE id = '{RETURNED}';
         DELETE FROM sales_daily WHERE day = '2017-05-03'"
    );
    copy.plant(&[rows, sums, lacking].concat()).await?;
    let output = copy.audit(&["--json"])?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!((&report["parked_found"], &report["differences_found"]), (&2.into(), &0.into()));
    let parked = report["parked"].as_array().ok_or("parked is a list")?;
    let said: BTreeSet<_> =
        parked.iter().map(|one| (one["projection"].as_str(), one["aggregate"].as_str())).collect();
    let expected = [("orders", RETURNED), ("sales_daily", SHIPPED)];
    assert_eq!(said, expected.map(|(name, id)| (Some(name), Some(id))).into());
    let text = String::from_utf8(copy.audit(&[])?.stdout)?;
    assert!(text.contains(&format!("PARKED orders/{RETURNED}: what follows from offset ")));
    assert!(text.ends_with("clean but for what is parked: no difference found\n"), "{text}");

    // What is applied over it differs, and what no longer waits is named.
    copy.plant("DELETE FROM parked_commits WHERE projection = 'sales_daily'").await?;
    let lost = differences(&copy.audit(&["--json"])?)?;
    among(&lost, "parked_commits/sales_daily.1/order/", "the row is missing");
    let given_up = "UPDATE parked_aggregates SET discarded_at = now() WHERE projection = \
                    'sales_daily'";
    copy.plant(given_up).await?;
    let output = copy.audit(&[])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains(" on is given up\n"), "{text}");
    Ok(())
}

#[tokio::test]
async fn what_is_parked_otherwise_than_the_log_has_it() -> Outcome {
    let all = parked("orders", RETURNED);
    // Its row is there although everything of it waits.
    only(&found(&all).await?, &format!("orders/{RETURNED}"), "nothing in the log makes this row");
    let lacking = format!("{all} DELETE FROM orders WHERE id = '{RETURNED}';");
    let later = "UPDATE parked_aggregates SET from_offset = from_offset + 1;";
    let elsewhere = found(&format!("{lacking}{later}")).await?;
    among(&elsewhere, &format!("orders/{RETURNED}"), "the row is missing");
    among(&elsewhere, "parked_commits/orders.1/order/", "nothing in the log makes this row");
    let there = PARKED.replace("partition", "99");
    let other =
        format!("INSERT INTO parked_aggregates ({PARKED}) SELECT {there} FROM parked_aggregates");
    let other = found(&format!("{lacking}{other}")).await?;
    only(&other, "parked_aggregates/order/99", "the log has no such partition");
    Ok(())
}

#[tokio::test]
async fn a_changed_event() -> Outcome {
    let copy = World::shared().await?.copy().await?;
    planted_log::rewrite(&copy.folder, |record| {
        if record.header("ce_type") == Some(b"order.placed")
            && record.key.as_deref() == Some(SHIPPED.as_bytes())
        {
            let text =
                String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
            record.value = Some(text.replacen("\"quantity\":3", "\"quantity\":4", 1).into_bytes());
        }
        true
    })
    .await?;
    let found = differences(&copy.audit(&["--json"])?)?;
    among(&found, &format!("orders/{SHIPPED}"), "lines is [");
    among(&found, &format!("snapshots/{SHIPPED}"), "state is {");
    among(&found, "sales_daily/2017-05-03/PRODUCE", "units is \"3\", the log makes it \"4\"");
    Ok(())
}

#[tokio::test]
async fn an_event_that_the_log_lost() -> Outcome {
    let copy = World::shared().await?.copy().await?;
    planted_log::rewrite(&copy.folder, |record| {
        !(record.header("ce_type") == Some(b"order.returned")
            && record.key.as_deref() == Some(RETURNED.as_bytes()))
    })
    .await?;
    let found = differences(&copy.audit(&["--json"])?)?;
    among(&found, "checkpoints/", "the checkpoint is ahead of the log");
    among(
        &found,
        &format!("orders/{RETURNED}"),
        "the row is of the future: it has version 5, the log makes 4",
    );
    Ok(())
}

#[tokio::test]
async fn a_command_id_twice_in_the_log() -> Outcome {
    let copy = World::shared().await?.copy().await?;
    let mut first = None;
    planted_log::rewrite(&copy.folder, |record| {
        if record.key.as_deref() == Some(RETURNED.as_bytes()) {
            for header in record.headers.iter_mut().filter(|header| header.name == "hw-command") {
                header.value = first.get_or_insert_with(|| header.value.clone()).clone();
            }
        }
        true
    })
    .await?;
    let found = differences(&copy.audit(&["--json"])?)?;
    among(&found, "highwater.order.events/", "is in the log already");
    among(&found, "outcomes/", "nothing in the log makes this row");
    Ok(())
}

#[tokio::test]
async fn the_private_tables_of_a_data_folder_are_audited_while_up_runs_and_after_it() -> Outcome {
    let scratch = Scratch::new("private");
    let up = Up::start(&scratch.0, &[])?;
    up.live()?;
    // The log and the tables move meanwhile, the tables a little behind.
    let done = AtomicBool::new(false);
    let commands = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (0..).take_while(|_| !done.load(Ordering::Relaxed) && up.receive().is_ok()).count()
        });
        let audits = (0..3).try_for_each(|_| audited(&scratch));
        done.store(true, Ordering::Relaxed);
        audits.map(|()| writer.join().unwrap_or_default())
    })?;
    assert!(commands > 10, "{commands} commands while the audits ran");
    audited(&scratch)?;
    up.stop()?;
    audited(&scratch)?;
    let again = Up::start(&scratch.0, &[])?;
    audited(&scratch)?;
    again.stop()
}

fn audited(scratch: &Scratch) -> Outcome {
    let output = audit(&scratch.0, &[])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("\nsales_daily ") && !text.contains("not audited"), "{text}");
    Ok(())
}

async fn report_of(
    application: &Application,
    log: &dyn RawReader,
    url: &str,
    scratch: Option<&str>,
) -> Result<Report, String> {
    application.audit(log, url, scratch).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn projections_without_an_account_are_replayed_into_an_empty_database() -> Outcome {
    let copy = World::shared().await?.copy().await?;
    let mut application = store::app().build()?;
    // Those of the states stay.
    let accounts = application.audited;
    application.audited = Box::new(move || {
        accounts().into_iter().filter(|account| account.name() == "snapshots").collect()
    });
    let log = LocalReader::open(&copy.folder.0.join("log")).await?;
    let report = report_of(&application, &*log, &copy.url, None).await?;
    assert_eq!(report.not_compared, ["orders", "sales_daily", "catalog", "stock_levels"]);

    let scratch = copy.empty().await?;
    let report = report_of(&application, &*log, &copy.url, Some(&scratch)).await?;
    assert!(report.is_clean() && report.not_compared.is_empty(), "{report}");
    for (table, rows) in [("orders", 3), ("catalog", 2), ("stock_levels", 2)] {
        let found = report.tables.iter().find(|found| found.table == table);
        let found = found.ok_or_else(|| format!("no {table}: {report}"))?;
        assert_eq!((found.rows, found.account), (rows, Account::Replayed), "{report}");
    }
    let lacking = format!("DELETE FROM orders WHERE id = '{RETURNED}'");
    copy.plant(&[parked("orders", RETURNED), lacking].concat()).await?;
    let report = report_of(&application, &*log, &copy.url, Some(&copy.empty().await?)).await?;
    assert!(report.is_clean() && report.parked_found == 1, "{report}");
    let refused = report_of(&application, &*log, &copy.url, Some(&scratch)).await;
    let refused = refused.err().ok_or("it is not empty any more")?;
    assert!(refused.contains("name an empty one"), "{refused}");

    copy.plant(
        "UPDATE sales_daily SET lines = lines + 1
         WHERE ctid = (SELECT max(ctid) FROM sales_daily WHERE orders = 1);
         DELETE FROM stock_levels WHERE reserved = 0",
    )
    .await?;
    let report = report_of(&application, &*log, &copy.url, Some(&copy.empty().await?)).await?;
    let found: Vec<_> =
        report.differences.iter().map(|found| format!("{}: {}", found.at, found.what)).collect();
    for (table, what) in [
        ("sales_daily/", "nothing in the log makes this row"),
        ("sales_daily/", "the row is missing"),
        ("stock_levels/", "the row is missing"),
    ] {
        assert!(found.iter().any(|one| one.contains(table) && one.contains(what)), "{found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_column_that_is_missing_is_named_and_no_database_that_is_away() -> Outcome {
    let copy = World::shared().await?.copy().await?;
    copy.plant("ALTER TABLE catalog RENAME COLUMN brand TO make").await?;
    let output = copy.audit(&[])?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("brand") && !said.contains("cannot be reached"), "{said}");
    copy.plant("ALTER TABLE parked_aggregates RENAME COLUMN error TO cause").await?;
    copy.plant("ALTER TABLE checkpoints RENAME COLUMN epoch TO term").await?;
    for (subcommand, column) in [(&["lag"][..], "epoch"), (&["parked", "list"], "error")] {
        let output = copy.run(subcommand)?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{subcommand:?}: {said}");
        assert!(said.contains(column) && !said.contains("cannot be reached"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn without_a_database_the_log_alone_is_audited_and_a_database_that_is_away_has_exit_code_3()
-> Outcome {
    let copy = World::shared().await?.copy().await?;
    let output = audit(&copy.folder.0, &[])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("tables not audited: the data folder has no private Postgres"), "{text}");
    let away = audit(&copy.folder.0, &["--database-url", "postgres://nobody@127.0.0.1:1/none"])?;
    assert_eq!(away.status.code(), Some(3), "{}", String::from_utf8_lossy(&away.stderr));
    let elsewhere = audit(&copy.folder.0, &["--kafka", "127.0.0.1:1"])?;
    assert_eq!(elsewhere.status.code(), Some(3));
    assert!(
        String::from_utf8(elsewhere.stderr)?.contains("the log cannot be reached"),
        "beside --kafka the folder's log is not read"
    );
    Ok(())
}
