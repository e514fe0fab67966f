//! What every service must know of the categories, each in its own file.

#[test]
fn queries_know_the_categories_that_are_projected() {
    assert_eq!(highwater_query::views::CATEGORIES, highwater_projection::projections::CATEGORIES);
}
