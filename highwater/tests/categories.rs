//! What every service must know of the categories, each in its own file.

#[test]
fn queries_know_the_categories_that_are_projected() {
    assert_eq!(query_api::views::CATEGORIES, projectors::projections::CATEGORIES);
}
