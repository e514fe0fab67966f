//! `store demo` against a fresh `store up` whose process is killed (-9) twice: while stock
//! comes in, and while baskets become orders. What comes of it is what the file says, once; a run
//! on top of it changes nothing. The same on a broker. With the shipped file in `bin/long`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

#[path = "store_support/build.rs"]
mod build;
#[expect(dead_code, reason = "no broker is killed here")]
#[path = "store_faults/kafka.rs"]
mod kafka;
#[path = "store_demo/records.rs"]
mod records;
#[path = "store_demo/run.rs"]
mod run;
#[path = "store_support/up.rs"]
mod up;

use std::{ffi::OsString, fmt::Write};

use kafka::Kafka;
use records::Records;
use run::{Run, audit};
use up::{Scratch, Up, command};

/// What the README of the built-in files says of them.
const SHIPPED: Records = Records {
    products: 9_729,
    stocked: 9_729,
    received: 28_991,
    orders: 2_000,
    lines: 21_973,
    units: 28_991,
    total_minor: 6_252_943,
};
const UNREACHABLE: i32 = 3;
const HEAD: &str = "basket_id,household_id,placed_at,product_id,quantity,unit_price_minor\n";

/// A file of baskets, and what comes of it.
struct Baskets {
    /// The arguments that name it; none: the shipped one.
    args: Vec<String>,
    whole: Records,
}

impl Baskets {
    fn shipped() -> Self {
        Self { args: Vec::new(), whole: SHIPPED }
    }

    /// Each has two lines, of one and two units, each 150.
    fn made(scratch: &Scratch, baskets: u64, products: u64) -> Self {
        let rows = (0..baskets).fold(HEAD.to_owned(), |mut rows, basket| {
            for line in 1..=2 {
                let _ = writeln!(
                    rows,
                    "{basket},7,2017-01-01T11:53:26Z,{},{line},150",
                    100 + (basket + line) % products
                );
            }
            rows
        });
        let file = scratch.path().join("baskets.csv");
        std::fs::write(&file, rows).unwrap();
        Self {
            args: vec!["--baskets".to_owned(), file.to_str().unwrap().to_owned()],
            whole: Records {
                products,
                stocked: products,
                received: 3 * baskets,
                orders: baskets,
                lines: 2 * baskets,
                units: 3 * baskets,
                total_minor: 450 * baskets,
            },
        }
    }

    fn run(&self, server: &Up, others: &[&str]) -> Run {
        let args: Vec<&str> =
            self.args.iter().map(String::as_str).chain(others.iter().copied()).collect();
        Run::start(&server.address, &args)
    }
}

/// Interrupted while products become stock and while baskets become orders, a run ends where one
/// without a crash does.
fn ends_where_one_without_a_crash_does(scratch: &Scratch, baskets: &Baskets) {
    let whole = &baskets.whole;
    let server = Up::start(scratch);
    let ended = baskets.run(&server, &["--patience", "0"]).killing(server, "products:");
    assert_eq!(ended.code, UNREACHABLE, "{ended:?}");
    let torn = Records::of(&log_of(scratch));
    assert!(
        torn.products == whole.products && torn.stocked < whole.stocked && torn.orders == 0,
        "{torn:?}"
    );

    let server = Up::start(scratch);
    // All orders do not end before they are interrupted.
    let ended = baskets.run(&server, &["--patience", "0"]).killing(server, "stock:");
    assert_eq!(ended.code, UNREACHABLE, "{ended:?}");
    let torn = Records::of(&log_of(scratch));
    assert!(torn.received == whole.received && torn.orders < whole.orders, "{torn:?}");

    let server = Up::start(scratch);
    let ended = baskets.run(&server, &[]).end();
    assert!(ended.sums("replayed")[0] >= torn.orders, "{ended:?}");
    let done = |name| ended.done(name);
    assert_eq!((done("products"), done("stock")), ((0, whole.products), (0, whole.stocked)));
    assert_eq!(
        ended.sums("total"),
        [whole.orders, whole.lines, whole.units, whole.total_minor],
        "{ended:?}"
    );
    assert_eq!(Records::of(&log_of(scratch)), *whole);
    server.stop();
    audit(&log_of(scratch));
}

#[test]
#[ignore = "bin/long: 50,000 commands"]
fn the_shipped_baskets_end_where_a_run_without_a_crash_does() {
    ends_where_one_without_a_crash_does(&Scratch::new("demo-shipped"), &Baskets::shipped());
}

/// What `bin/test` runs beside all other tests.
mod apart {
    use super::*;

    #[test]
    fn a_run_after_a_crash_ends_where_one_without_a_crash_does() {
        let scratch = Scratch::new("demo");
        ends_where_one_without_a_crash_does(&scratch, &Baskets::made(&scratch, 600, 500));
    }

    #[test]
    fn on_kafka_too_and_another_run_changes_nothing() {
        let scratch = Scratch::new("demo-kafka");
        std::fs::create_dir_all(scratch.path().join("pids")).unwrap();
        let kafka = Kafka::start(&scratch.path().join("kafka"), &scratch.path().join("pids"), 1);
        let log = ["--kafka", kafka.bootstrap.as_str()];
        let start = || {
            Up::of(command(&scratch).args(["--listen", "127.0.0.1:0", "--development"]).args(log))
        };
        let baskets = Baskets::made(&scratch, 300, 40);
        let whole = &baskets.whole;

        let server = start();
        let ended = baskets.run(&server, &["--patience", "0"]).killing(server, "stock:");
        assert_eq!(ended.code, UNREACHABLE, "{ended:?}");
        let torn = Records::of(&log);
        assert!(torn.received == whole.received && torn.orders < whole.orders, "{torn:?}");

        let server = start();
        // What all baskets sell is there, and only the first of them are ordered.
        let some = baskets.run(&server, &["--limit", "50"]).end();
        assert_eq!(some.sums("total"), [50, 100, 150, 50 * 450], "{some:?}");
        let ended = baskets.run(&server, &[]).end();
        assert!(ended.sums("replayed")[0] >= torn.orders, "{ended:?}");
        let again = baskets.run(&server, &["--concurrency", "8"]).end();
        assert_eq!(again.sums("created"), [0; 4], "{again:?}");
        assert_eq!(Records::of(&log), *whole);
        let data = scratch.data();
        let with_tables = [&log[..], &["--data", data.to_str().unwrap()]].concat();
        audit(&with_tables);
        server.stop();
        // Its private Postgres is started for it.
        audit(&with_tables);
    }

    #[test]
    fn a_basket_that_another_file_fills_in_another_way_is_told_and_nothing_of_it_happens() {
        let scratch = Scratch::new("demo-other");
        let server = Up::start(&scratch);
        let file = |name: &str, rows: &str| {
            let path = scratch.path().join(name);
            std::fs::write(&path, format!("{HEAD}{rows}")).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let first = file("first.csv", "1,7,2017-01-01T11:53:26Z,1095275,1,50\n");
        let ended = Run::start(&server.address, &["--baskets", &first]).end();
        assert_eq!(ended.sums("created"), [1, 1, 1, 50]);

        let second = file(
            "second.csv",
            "2,7,2017-01-01T11:53:26Z,1095275,2,60\n1,7,2017-01-01T11:53:26Z,1095275,3,50\n",
        );
        let refused =
            Run::start(&server.address, &["--baskets", &second, "--concurrency", "1"]).end_any();
        assert_eq!(refused.code, 1, "{refused:?}");
        for said in ["basket 1 (line 3)", "422", "idempotency-key.reused"] {
            assert!(refused.stderr.contains(said), "{refused:?}");
        }
        let now = Records::of(&log_of(&scratch));
        assert_eq!(
            now,
            Records {
                products: 1,
                stocked: 2,
                received: 6,
                orders: 2,
                lines: 2,
                units: 3,
                total_minor: 170
            }
        );

        let torn = file(
            "torn.csv",
            "3,7,2017-01-01T11:53:26Z,1095275,2,60\n4,7,2017-01-01T11:53:26Z,7,1,1\n\
             3,7,2017-01-01T11:53:26Z,8,1,1\n",
        );
        let refused = Run::start(&server.address, &["--baskets", &torn]).end_any();
        assert!(
            refused.code == 1 && refused.stderr.contains("line 4: basket 3 was there before"),
            "{refused:?}"
        );
        assert_eq!(Records::of(&log_of(&scratch)), now, "it was refused before anything was sent");
        server.stop();
    }
}

fn log_of(scratch: &Scratch) -> [OsString; 2] {
    ["--data".into(), scratch.data().into()]
}
