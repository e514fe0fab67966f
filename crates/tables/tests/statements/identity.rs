use highwater_tables::identity::{database_identity, replace};

use super::{id, key, project, tables};

#[tokio::test]
async fn only_a_database_without_checkpoints_takes_the_identity_of_another() {
    let pool = tables("statements_identity").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    assert!(replace(connection, id(7)).await.expect("replaced"));
    assert_eq!(database_identity(&pool).await.expect("an identity"), id(7));
    project(&pool, key("a", 0), 5).await;
    assert!(!replace(connection, id(8)).await.expect("refused"));
    assert_eq!(database_identity(&pool).await.expect("an identity"), id(7));
}
