use highwater_protocol::{position::Position, wire::Wire};
use highwater_tables::{
    checkpoints::{Key, find, live_offsets, position},
    generations::{
        self, Behind, Beside, Error, Generations, beside_offsets, drop, index, make, of, renumber,
        switch,
    },
};
use sqlx::{PgPool, postgres::PgListener};

use super::{at, id, key, project, run, tables};

const TABLES: [&str; 1] = ["things"];

/// A table, and another one beside it.
async fn two(test: &str) -> PgPool {
    let pool = tables(test).await;
    run(&pool, "CREATE TABLE things (id integer PRIMARY KEY, what text NOT NULL)").await;
    run(&pool, "INSERT INTO things VALUES (1, 'live')").await;
    let mut tx = pool.begin().await.expect("a transaction");
    make(&mut tx, "things", &TABLES).await.expect("made");
    index(&mut tx, "things", &TABLES).await.expect("indexed");
    tx.commit().await.expect("committed");
    run(&pool, "INSERT INTO highwater_beside_things.things VALUES (1, 'beside')").await;
    pool
}

async fn switched(pool: &PgPool, from: Beside) -> Result<i32, Error> {
    let mut tx = pool.begin().await?;
    let live = switch(&mut tx, "things", &TABLES, from).await?;
    tx.commit().await?;
    Ok(live)
}

async fn shown(pool: &PgPool) -> String {
    let what = "SELECT string_agg(what, ',') FROM things";
    sqlx::query_scalar(what).fetch_one(pool).await.expect("rows")
}

async fn found(pool: &PgPool, keys: &[Key<'_>]) -> Vec<Option<Position<Wire>>> {
    let mut connection = pool.acquire().await.expect("a connection");
    find(&mut connection, keys).await.expect("positions")
}

#[tokio::test]
async fn what_is_behind_on_a_partition_does_not_take_the_place_of_what_is_live() {
    let pool = two("generations_behind").await;
    let keys = [key("things", 0), key("things", 1)];
    project(&pool, keys[0], 5).await;
    project(&pool, keys[1], 5).await;
    project(&pool, keys[0].beside(), 9).await;
    // One record short, and of the other partition nothing is known.
    for beside in [0, 4] {
        if beside > 0 {
            project(&pool, keys[1].beside(), beside).await;
        }
        let Err(Error::Behind(behind)) = switched(&pool, Beside::Next).await else {
            panic!("it was not refused");
        };
        let at = i64::try_from(beside).expect("small");
        let one = Behind { category: "thing".to_owned(), partition: 1, live: 5, beside: at };
        assert_eq!(behind, [one]);
    }
    assert_eq!(shown(&pool).await, "live");
    assert_eq!(found(&pool, &keys).await, [Some(at(5)), Some(at(5))]);
}

#[tokio::test]
async fn tables_and_positions_change_places_and_readers_are_told() {
    let pool = two("generations_places").await;
    let mut heard = PgListener::connect_with(&pool).await.expect("a listener");
    heard.listen("highwater_changes").await.expect("it listens");
    let (live, beside) = (key("things", 0), key("things", 0).beside());
    let other = key("others", 0);
    project(&pool, live, 5).await;
    project(&pool, beside, 9).await;
    project(&pool, other, 7).await;
    for (from, number, shows, positions) in [
        (Beside::Next, 2, "beside", [Some(at(9)), Some(at(5))]),
        (Beside::Previous, 3, "live", [Some(at(5)), Some(at(9))]),
    ] {
        let wrong = match from {
            Beside::Next => Beside::Previous,
            Beside::Previous => Beside::Next,
        };
        assert!(matches!(switched(&pool, wrong).await, Err(Error::None(_))));
        if from == Beside::Previous {
            // What was live before is fed before it is put back.
            run(
                &pool,
                "UPDATE checkpoints SET next_offset = 9 WHERE projection = 'things' \
                 AND generation = 2",
            )
            .await;
            assert_eq!(switched(&pool, from).await.expect("switched"), number);
        } else {
            assert_eq!(switched(&pool, from).await.expect("switched"), number);
            assert_eq!(found(&pool, &[live, beside]).await, positions);
        }
        assert_eq!(shown(&pool).await, shows);
        assert_eq!(heard.recv().await.expect("a notification").payload(), "*");
    }
    assert_eq!(found(&pool, &[other]).await, [Some(at(7))]);
    let mut connection = pool.acquire().await.expect("a connection");
    let now = of(&mut connection, "things").await.expect("generations");
    assert_eq!(now, Generations { live: 3, beside: Some(Beside::Next) });
    assert_eq!(renumber(&mut connection, "things").await.expect("a number"), 4);
    assert_eq!(renumber(&mut connection, "others").await.expect("a number"), 2);

    drop(&mut connection, "things").await.expect("dropped");
    assert_eq!(beside_offsets(&mut connection, "things").await.expect("none"), []);
    let now = of(&mut connection, "things").await.expect("generations");
    assert_eq!(now, Generations { live: 4, beside: None });
    let offsets = live_offsets(&mut connection).await.expect("offsets");
    assert_eq!(offsets.len(), 2);
    let stays = position(&mut connection, "things", "thing", 0).await.expect("a position");
    assert_eq!(stays.offset, 9);
}

#[tokio::test]
async fn tables_of_another_log_do_not_take_the_place_of_what_is_live() {
    let pool = two("generations_log").await;
    project(&pool, key("things", 0), 5).await;
    project(&pool, key("things", 0).beside(), 9).await;
    sqlx::query("UPDATE checkpoints SET identity = $1 WHERE generation = 2")
        .bind(id(2))
        .execute(&pool)
        .await
        .expect("another log");
    assert!(matches!(switched(&pool, Beside::Next).await, Err(Error::OtherLog)));
    assert_eq!(shown(&pool).await, "live");
}

#[tokio::test]
async fn one_session_at_a_time_works_on_the_generations_of_a_projection() {
    let pool = tables("generations_held").await;
    let mut one = pool.acquire().await.expect("a connection");
    let mut other = pool.acquire().await.expect("a connection");
    assert!(generations::hold(&mut one, "things").await.expect("asked"));
    assert!(!generations::hold(&mut other, "things").await.expect("asked"));
    assert!(generations::hold(&mut other, "others").await.expect("asked"));
}
