use super::*;
use crate::demo::args;

const BASKETS: &str = "basket_id,household_id,placed_at,product_id,quantity,unit_price_minor\n\
    1,7,2017-01-01T00:00:00Z,p,2,150\n1,7,2017-01-01T00:00:00Z,q,1,10\n\
    2,7,2017-01-01T00:00:00Z,p,3,140\n";
const PRODUCTS: &str = "product_id,department,brand,product_category,product_type,package_size\n\
    unsold,GROCERY,Private,SOUP,SOUP,\np,GROCERY,Private,SOUP,CONDENSED SOUP,10 OZ\n";

fn source(text: &str) -> Source {
    Source::BuiltIn { name: "file.csv", bytes: text.to_owned().leak().as_bytes() }
}

fn survey(baskets: &str, products: &str) -> Result<Survey, Error> {
    Survey::of(&source(baskets), &source(products))
}

#[test]
fn a_product_has_its_first_price_and_all_that_is_sold_of_it() {
    let survey = survey(BASKETS, PRODUCTS).unwrap();
    let of: Vec<_> = survey
        .products
        .iter()
        .map(|p| (p.number.as_str(), p.unit_price_minor, p.units, p.listing.is_some()))
        .collect();
    assert_eq!(of, [("p", 150, 5, true), ("q", 10, 1, false)]);
    assert_eq!(survey.baskets, 2);
}

#[test]
fn what_is_not_sold_is_not_kept() {
    let with = survey(BASKETS, PRODUCTS).unwrap();
    assert!(with.products.iter().all(|product| product.number != "unsold"));
}

#[test]
fn a_basket_in_two_places_is_refused() {
    let torn = format!("{BASKETS}1,7,2017-01-01T00:00:00Z,r,1,1\n");
    let refusal = survey(&torn, PRODUCTS).unwrap_err().to_string();
    assert!(
        refusal.contains(
            "line 5: basket 1 was there before: the lines of a basket must stand together"
        ),
        "{refusal}"
    );
}

#[test]
fn a_product_that_is_listed_twice_is_refused() {
    let twice = format!("{PRODUCTS}p,MEAT,,,,\n");
    let refusal = survey(BASKETS, &twice).unwrap_err().to_string();
    assert!(refusal.contains("line 4: product p was listed before"), "{refusal}");
}

#[test]
fn no_more_is_sold_than_can_be_received() {
    let much = format!("{BASKETS}3,7,2017-01-01T00:00:00Z,p,{MAX},0\n");
    let refusal = survey(&much, PRODUCTS).unwrap_err().to_string();
    assert!(refusal.contains("line 5: of product p more than"), "{refusal}");
}

#[test]
fn what_is_built_in_sells_what_its_description_says() {
    let built_in = |bytes| Source::BuiltIn { name: "built in", bytes };
    let survey = Survey::of(&built_in(args::BASKETS), &built_in(args::PRODUCTS)).unwrap();
    let unlisted = survey.products.iter().filter(|product| product.listing.is_none()).count();
    let units: u64 = survey.products.iter().map(|product| product.units).sum();
    assert_eq!((survey.baskets, survey.products.len(), unlisted, units), (2_000, 9_729, 1, 28_991));
}
