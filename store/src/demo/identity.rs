//! Ids and keys that follow from the data: the same file gives the same ones for ever.

use uuid::Uuid;

/// Changed, a second run would do everything a second time.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0c_2f0e_9a55_5c1b_8d5e_1d6a_3b07_7c42);

/// What a number in the files is the number of. A household and a product may well have the same.
#[derive(Clone, Copy)]
enum Kind {
    Product,
    Customer,
    Order,
    Key,
}

pub(super) fn product(number: &str) -> Uuid {
    named(Kind::Product, number)
}

pub(super) fn customer(household: &str) -> Uuid {
    named(Kind::Customer, household)
}

pub(super) fn order(basket: &str) -> Uuid {
    named(Kind::Order, basket)
}

/// Of what the key says, not only of the number: a product that another file describes in another
/// way exists already, which is no misuse of the first file's key.
pub(super) fn create_key(body: &[u8]) -> Uuid {
    let of_create = Uuid::new_v5(&namespace(Kind::Key), b"create");
    Uuid::new_v5(&of_create, body)
}

/// `digest`: of the whole file, because what it sells is received once for each file.
pub(super) fn receive_key(number: &str, digest: &str) -> Uuid {
    named(Kind::Key, &format!("receive {digest} {number}"))
}

/// Of the number alone: a basket that another file fills in another way is an error, and told.
pub(super) fn place_key(basket: &str) -> Uuid {
    named(Kind::Key, &format!("place {basket}"))
}

fn named(kind: Kind, name: &str) -> Uuid {
    Uuid::new_v5(&namespace(kind), name.as_bytes())
}

fn namespace(kind: Kind) -> Uuid {
    let name = match kind {
        Kind::Product => "product",
        Kind::Customer => "customer",
        Kind::Order => "order",
        Kind::Key => "key",
    };
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        assert_eq!(product("1095275").to_string(), "926bd4e1-e13e-5bbd-b978-ddbb40a12d2d");
        assert_eq!(customer("900").to_string(), "7aa406ed-438f-5169-bc8c-54d616cc1e46");
        assert_eq!(order("31198570044").to_string(), "f7213a3c-3647-570a-8c32-42560f3a99fc");
    }

    #[test]
    fn keys_never_change() {
        assert_eq!(create_key(b"{}").to_string(), "1acdd257-76fd-55af-aeaa-8b628b618b58");
        assert_eq!(
            receive_key("1095275", "digest").to_string(),
            "3fde3c5a-533b-54b5-b30f-593cc1b1dcba"
        );
        assert_eq!(place_key("31198570044").to_string(), "a00d3566-52cb-5f60-95b0-671aed2f9fcb");
    }

    #[test]
    fn the_same_number_of_another_kind_is_another_id() {
        let ids = std::collections::HashSet::from([
            product("7"),
            customer("7"),
            order("7"),
            receive_key("7", ""),
            place_key("7"),
        ]);
        assert_eq!(ids.len(), 5);
    }
}
