use super::*;

const HEAD: &str = "basket_id,household_id,placed_at,product_id,quantity,unit_price_minor\n";

fn baskets(rows: &str) -> Result<Vec<Basket>, Error> {
    let bytes = format!("{HEAD}{rows}").into_bytes().leak();
    let mut baskets = Baskets::of(&Source::BuiltIn { name: "b.csv", bytes })?;
    let mut read = Vec::new();
    while let Some(basket) = baskets.next()? {
        read.push(basket);
    }
    Ok(read)
}

fn refusal(rows: &str) -> String {
    baskets(rows).unwrap_err().to_string()
}

#[test]
fn what_stands_together_is_a_basket() {
    let read = baskets(
        "1,7,2017-01-01T11:53:26Z,p,2,150\n1,7,2017-01-01T11:53:26Z,q,1,0\n\
         2,7,2017-01-02T00:00:00+02:00,p,1,99\n",
    )
    .unwrap();
    let line = |product: &str, quantity, unit_price_minor| Line {
        product: product.to_owned(),
        quantity,
        unit_price_minor,
    };
    let [first, second] = read.as_slice() else { panic!("{read:?}") };
    assert_eq!((first.number.as_str(), first.household.as_str(), first.begins), ("1", "7", 2));
    assert_eq!(first.lines, [line("p", 2, 150), line("q", 1, 0)]);
    assert_eq!((first.units, first.total_minor), (3, 300));
    assert_eq!(
        (second.number.as_str(), second.begins, second.units, second.total_minor),
        ("2", 4, 1, 99)
    );
    assert_eq!(second.placed_at.to_rfc3339(), "2017-01-01T22:00:00+00:00");
}

#[test]
fn a_file_without_baskets_has_none() {
    assert_eq!(baskets("").unwrap(), []);
}

#[test]
fn what_no_order_could_be_is_refused_with_its_line() {
    let max = MAX;
    let half = MAX / 2 + 1;
    for (second, said) in [
        (
            "1,8,2017-01-01T00:00:00Z,q,1,1",
            "line 3: household and time are not those of the first line of basket 1",
        ),
        ("1,7,2017-01-01T00:00:01Z,q,1,1", "line 3: household and time"),
        ("1,7,2017-01-01T00:00:00Z,p,1,1", "line 3: basket 1 has product p on a line already"),
        ("1,7,2017-01-01T00:00:00Z,q,0,1", "line 3: quantities go from 1"),
        (
            &format!("1,7,2017-01-01T00:00:00Z,q,1,{}", max + 1),
            "line 3: quantities go from 1 and prices from 0",
        ),
        (
            &format!("1,7,2017-01-01T00:00:00Z,q,1,{max}"),
            "line 3: the sum of basket 1 is more than",
        ),
        (
            &format!("1,7,2017-01-01T00:00:00Z,q,{half},2"),
            "line 3: the sum of basket 1 is more than",
        ),
        (
            &format!("1,7,2017-01-01T00:00:00Z,q,{max},0"),
            "line 3: the sum of basket 1 is more than",
        ),
        (
            "1,7,2017-01-01T00:00:00Z,,1,1",
            "line 3: basket_id, household_id and product_id must not be empty",
        ),
        (",7,2017-01-01T00:00:00Z,q,1,1", "line 3: basket_id"),
    ] {
        let refusal = refusal(&format!("1,7,2017-01-01T00:00:00Z,p,1,1\n{second}\n"));
        assert!(refusal.contains(said), "{second}: {refusal}");
    }
}

#[test]
fn a_basket_has_as_many_lines_as_an_order() {
    let rows = |lines: usize| {
        (0..lines).map(|line| format!("1,7,2017-01-01T00:00:00Z,{line},1,1\n")).collect::<String>()
    };
    assert_eq!(baskets(&rows(500)).unwrap()[0].lines.len(), 500);
    assert!(
        refusal(&rows(501)).contains("line 502: basket 1 has more than the 500 lines of an order")
    );
}
