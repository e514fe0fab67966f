use serde_json::{Value, json};

use super::*;
use crate::demo::baskets::Line;

fn product(listing: Option<Listing>) -> Product {
    Product { number: "1095275".to_owned(), unit_price_minor: 50, units: 12, listing }
}

fn listing(fields: [&str; 5]) -> Listing {
    let [department, brand, category, name, package_size] =
        fields.map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
    Listing { department, brand, category, name, package_size }
}

fn body(command: &Command) -> Value {
    serde_json::from_slice(&command.body).unwrap()
}

#[test]
fn a_product_is_created_as_it_is_listed() {
    let command = Command::create(&product(Some(listing([
        "GROCERY",
        "Private",
        "SOUP",
        "CONDENSED SOUP",
        "10 OZ",
    ]))))
    .unwrap();
    assert_eq!(command.path, "v1/products");
    assert_eq!(
        body(&command),
        json!({
            "id": identity::product("1095275"), "name": "CONDENSED \
                SOUP", "department": "GROCERY", "unit_price_minor": 50,
            "currency": "USD", "brand": "Private", "category": "SOUP", "package_size": "10 OZ",
        })
    );
}

#[test]
fn a_product_without_a_type_is_called_after_its_category_and_one_without_that_after_its_number() {
    let called = |listing| body(&Command::create(&product(listing)).unwrap())["name"].clone();
    assert_eq!(called(Some(listing(["GROCERY", "", "SOUP", "", ""]))), "SOUP");
    assert_eq!(called(Some(listing(["GROCERY", "", "", "", ""]))), "1095275");
}

#[test]
fn an_unlisted_product_is_in_no_known_department_and_says_nothing_else() {
    let command = Command::create(&product(None)).unwrap();
    assert_eq!(
        body(&command),
        json!({
            "id": identity::product("1095275"), "name": "1095275", "department": "UNKNOWN",
            "unit_price_minor": 50, "currency": "USD",
        })
    );
}

#[test]
fn another_price_is_another_creation_under_the_same_id() {
    let first = Command::create(&product(None)).unwrap();
    let second = Command::create(&Product { unit_price_minor: 60, ..product(None) }).unwrap();
    assert_ne!(first.key, second.key);
    assert_eq!(body(&first)["id"], body(&second)["id"]);
}

#[test]
fn stock_is_received_once_for_each_file() {
    let [first, again, other] =
        ["a", "a", "b"].map(|digest| Command::receive(&product(None), digest).unwrap());
    assert_eq!(first.path, format!("v1/stock/{}/receive", identity::product("1095275")));
    assert_eq!(body(&first), json!({"quantity": 12}));
    assert_eq!(first.key, again.key);
    assert_ne!(first.key, other.key);
}

#[test]
fn a_basket_is_an_order_of_its_household_at_its_time() {
    let lines = ["1095275", "7"]
        .map(|product| Line { product: product.to_owned(), quantity: 2, unit_price_minor: 50 })
        .to_vec();
    let placed_at = "2017-01-01T11:53:26Z".parse().unwrap();
    let (number, household) = ("31198570044".to_owned(), "900".to_owned());
    let basket =
        Basket { number, household, placed_at, lines, units: 4, total_minor: 200, begins: 2 };
    let command = Command::place(&basket, &HashMap::from([("1095275", "GROCERY")])).unwrap();
    assert_eq!(
        (command.path.as_str(), command.key),
        ("v1/orders", identity::place_key("31198570044"))
    );
    let line = |number, department| {
        json!({
            "product_id": identity::product(number), "department": department, "quantity": 2,
            "unit_price_minor": 50,
        })
    };
    assert_eq!(
        body(&command),
        json!({
            "id": identity::order("31198570044"), "customer_id": identity::customer("900"),
            "currency": "USD", "placed_at": "2017-01-01T11:53:26Z",
            "lines": [line("1095275", "GROCERY"), line("7", "UNKNOWN")],
        })
    );
}
