use highwater_tables::outcomes::{Row, SeenIds, delete_partition, ids_since, insert, known};

use super::{commit, id, tables};

fn row(command: u128, partition: u32, end: u64) -> Row {
    let row = Row::of_commit("thing", partition, &commit(command, command + 100, end));
    row.expect("small numbers").expect("it has events")
}

#[tokio::test]
async fn the_first_outcome_of_a_command_stays() {
    let pool = tables("statements_outcomes").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    insert(connection, &[row(1, 0, 12), row(2, 0, 13)]).await.expect("written");
    insert(connection, &[row(2, 0, 20), row(3, 0, 21)]).await.expect("written");
    let mut found = known(connection, &[id(1), id(3), id(4)]).await.expect("ids");
    found.sort();
    assert_eq!(found, [id(1), id(3)]);
    let seen = |command, next_offset| SeenIds {
        command_id: id(command),
        aggregate_id: id(command + 100),
        next_offset,
    };
    let all = ids_since(connection, "thing", 0, 0, 10).await.expect("ids");
    assert_eq!(all, [seen(1, 12), seen(2, 13), seen(3, 21)]);
    let some = ids_since(connection, "thing", 0, 12, 1).await.expect("ids");
    assert_eq!(some, [seen(2, 13)]);
}

#[tokio::test]
async fn the_outcomes_of_one_partition_go_and_no_others() {
    let pool = tables("statements_gone").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    insert(connection, &[row(1, 0, 12), row(2, 1, 13)]).await.expect("written");
    delete_partition(connection, "other", 0).await.expect("nothing of it");
    delete_partition(connection, "thing", 0).await.expect("gone");
    assert_eq!(known(connection, &[id(1), id(2)]).await.expect("ids"), [id(2)]);
    assert_eq!(ids_since(connection, "thing", 0, 0, 10).await.expect("ids"), []);
}
