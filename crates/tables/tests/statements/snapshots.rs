use highwater_protocol::{
    wire::Fingerprint,
    writer::{Outcome, RecordedOutcome},
};
use highwater_tables::{
    checkpoints::SNAPSHOTS,
    outcomes,
    snapshots::{
        Formats, Name, OwnerLoad, OwnerState, Row, StoredSnapshot, delete_partition, find, formats,
        load, upsert,
    },
};

use super::{commit, id, key, project, tables};

fn name(number: u128) -> Name {
    Name { category: "thing".to_owned(), id: id(number) }
}

fn row(number: u128, partition: i32, format: i16, state: Result<&[u8], &str>) -> Row {
    let state = state.map(<[u8]>::to_vec).map_err(str::to_owned);
    Row { name: name(number), partition, format, snapshot: StoredSnapshot { version: 3, state } }
}

#[tokio::test]
async fn states_and_reasons_are_found_as_they_were_written() {
    let pool = tables("statements_states").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    let rows = [row(1, 0, 1, Ok(&[7])), row(2, 0, 2, Err("why")), row(3, 1, 1, Ok(&[]))];
    upsert(connection, rows.to_vec()).await.expect("written");
    upsert(connection, Vec::new()).await.expect("nothing is nothing");
    let names = [name(1), name(2), name(4)];
    let found = find(connection, names.iter()).await.expect("rows");
    let expected = rows.clone().map(|row| (row.name, row.snapshot));
    assert_eq!(found, expected.into_iter().take(2).collect());
    // From a state to a reason, and back; the partition stays.
    let again = [row(1, 9, 2, Err("later")), row(2, 9, 2, Ok(&[8]))];
    upsert(connection, again.to_vec()).await.expect("written");
    let found = find(connection, names.iter()).await.expect("rows");
    assert_eq!(found, again.map(|row| (row.name, row.snapshot)).into_iter().collect());
    assert_eq!(formats(connection, "thing", 9).await.expect("formats"), None);
}

#[tokio::test]
async fn the_forms_of_a_partition_are_its_own_and_go_with_it() {
    let pool = tables("statements_forms").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    let rows = [row(1, 0, 2, Ok(&[7])), row(2, 0, 4, Ok(&[7])), row(3, 1, 1, Ok(&[7]))];
    upsert(connection, rows.to_vec()).await.expect("written");
    let both = Some(Formats { oldest: 2, newest: 4 });
    assert_eq!(formats(connection, "thing", 0).await.expect("formats"), both);
    delete_partition(connection, "other", 0).await.expect("nothing of it");
    assert_eq!(formats(connection, "thing", 0).await.expect("formats"), both);
    delete_partition(connection, "thing", 0).await.expect("gone");
    assert_eq!(formats(connection, "thing", 0).await.expect("formats"), None);
    let other = Some(Formats { oldest: 1, newest: 1 });
    assert_eq!(formats(connection, "thing", 1).await.expect("formats"), other);
}

#[tokio::test]
async fn an_owner_loads_what_was_written_at_its_checkpoint() {
    let pool = tables("statements_load").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    let asked = (&[id(1), id(2), id(3)], &[id(9), id(10)]);
    let nothing = load(connection, "thing", 0, asked.0, asked.1).await.expect("a load");
    assert_eq!(nothing, OwnerLoad::default());
    project(&pool, key(SNAPSHOTS, 0), 40).await;
    project(&pool, key("a", 0), 50).await;
    project(&pool, key(SNAPSHOTS, 1), 60).await;
    let rows = vec![row(1, 0, 2, Ok(&[7])), row(2, 0, 1, Err("why"))];
    upsert(connection, rows).await.expect("written");
    let outcome = outcomes::Row::of_commit("thing", 0, &commit(9, 1, 12));
    let outcome = outcome.expect("small numbers").expect("it has events");
    outcomes::insert(connection, &[outcome]).await.expect("written");
    let mut found = load(connection, "thing", 0, asked.0, asked.1).await.expect("a load");
    found.states.sort_by_key(|state| state.id);
    let recorded = RecordedOutcome {
        aggregate: id(1),
        fingerprint: Fingerprint { key_number: 3, hmac: [7; 32] },
        outcome: Outcome::Accepted { version: 5, end: 12, events: vec![("thing.made".into(), 5)] },
    };
    let expected = OwnerLoad {
        checkpoint: 40,
        states: vec![
            OwnerState { id: id(1), version: 3, format: 2, state: Some(vec![7]) },
            OwnerState { id: id(2), version: 3, format: 1, state: None },
        ],
        outcomes: vec![(id(9), recorded)],
    };
    assert_eq!(found, expected);
    let other = load(connection, "other", 0, asked.0, asked.1).await.expect("a load");
    assert_eq!(other, OwnerLoad::default());
}
