//! Error texts without the data that they quote: what is kept of an event that could not be applied
//! is a code and a place. Equal faults of different events read alike.

/// What stands before a quoted value that is data; other names in backticks are those of fields.
const BEFORE_DATA: [&str; 7] = [
    "unknown variant ",
    "unknown field ",
    "integer ",
    "floating point ",
    "character ",
    "boolean ",
    "string ",
];
/// What stands before a number that is a code.
const BEFORE_CODE: &str = "SQLSTATE ";
const UUID_CHARACTERS: usize = 36;
/// An error longer than this says nothing more.
const MOST_CHARACTERS: usize = 500;

/// `text` without quoted values, numbers and ids.
pub fn redacted(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if out.chars().count() >= MOST_CHARACTERS {
            return out + "…";
        }
        match first {
            '"' | '\'' => {
                out.push_str("\"…\"");
                rest = behind_quote(rest, first);
            }
            '`' if BEFORE_DATA.iter().any(|before| out.ends_with(before)) => {
                out.push_str("`…`");
                rest = behind_quote(rest, first);
            }
            _ if is_of_word(first) => {
                let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                let (word, behind) = rest.split_at(end);
                out.push_str(match word {
                    _ if out.ends_with(BEFORE_CODE) => word,
                    _ if is_id(word) => "<id>",
                    _ if word.chars().all(|c| c.is_ascii_digit() || c == '-') => "N",
                    _ => word,
                });
                rest = behind;
            }
            other => {
                out.push(other);
                rest = rest.get(other.len_utf8()..).unwrap_or_default();
            }
        }
    }
    out
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

fn is_id(word: &str) -> bool {
    word.len() == UUID_CHARACTERS && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

/// What follows the quoted text that `text` begins with; nothing, where the quote has no end.
fn behind_quote(text: &str, quote: char) -> &str {
    let inner = text.get(quote.len_utf8()..).unwrap_or_default();
    let mut is_escaped = false;
    for (at, c) in inner.char_indices() {
        if c == quote && !is_escaped {
            return inner.get(at + c.len_utf8()..).unwrap_or_default();
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    ""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_quoted_and_counted_goes_and_what_names_the_place_stays() {
        for (text, expected) in [
            (
                r#"invalid type: string "Jane Doe", expected u32 at line 1 column 17"#,
                r#"invalid type: string "…", expected u32 at line N column N"#,
            ),
            ("missing field `unit_price_minor`", "missing field `unit_price_minor`"),
            (
                "unknown variant `jane`, expected one of `plain`, `gift`",
                "unknown variant `…`, expected one of `plain`, `gift`",
            ),
            (
                "invalid value: integer `-512`, expected u32",
                "invalid value: integer `…`, expected u32",
            ),
            (
                "9c4e0d31-7a52-4f0b-8e1d-6b2f90a3c5d7 is at version 3, but makes version 5",
                "<id> is at version N, but makes version N",
            ),
            (
                "SQLSTATE 22P02 in orders.total: invalid input syntax for type uuid: \"a\\\"b\"",
                "SQLSTATE 22P02 in orders.total: invalid input syntax for type uuid: \"…\"",
            ),
            ("SQLSTATE 23502 in orders: 23502", "SQLSTATE 23502 in orders: N"),
            ("it's not closed", "it\"…\""),
            ("order.placed.v2", "order.placed.v2"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(redacted(&"ab ".repeat(10_000)).chars().count(), MOST_CHARACTERS + 1);
    }

    proptest! {
        #[test]
        fn what_is_redacted_stays_as_it_is(text in "\\PC{0,200}") {
            let once = redacted(&text);
            prop_assert_eq!(redacted(&once), once);
        }

        #[test]
        fn no_quoted_value_is_left(value in "[a-zA-Z@.]{3,20}", number in 10_u32..) {
            let text = redacted(&format!("bad {value:?} and '{value}' at {number}"));
            prop_assert!(!text.contains(&value) && !text.contains(&number.to_string()), "{}", text);
        }
    }
}
