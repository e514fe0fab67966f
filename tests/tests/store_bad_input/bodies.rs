//! Ids and bodies that the cases are made from.

pub const ORDER: &str = "018f3ca1-2f4d-7b21-8a4c-6d7e8f901234";
pub const NOBODY: &str = "018f3ca1-0000-7000-8000-000000000000";
pub const LINE: &str = concat!(
    r#"{"product_id":"018f3c9e-5b5e-7c3a-9d0e-1f6a2b3c4d5e","department":"KITCHEN","#,
    r#""quantity":2,"unit_price_minor":1250}"#
);

/// A body of `place` with these lines, and with more members, as JSON text that begins with a
/// comma.
pub fn place_with(lines: &str, more: &str) -> String {
    let customer = "018f3c00-0000-7000-8000-00000000c001";
    format!(r#"{{"customer_id":"{customer}","currency":"EUR","lines":[{lines}]{more}}}"#)
}

/// With one line, in which `from` is replaced.
pub fn place_line(from: &str, to: &str) -> String {
    assert!(LINE.contains(from));
    place_with(&LINE.replace(from, to), "")
}

pub fn place(more: &str) -> String {
    place_with(LINE, more)
}

/// Valid but for its size.
pub fn of_300_kib() -> String {
    let reason = "x".repeat(300 * 1024 - 13);
    format!(r#"{{"reason":"{reason}"}}"#)
}

pub fn lines(count: usize) -> String {
    (0..count)
        .map(|at| LINE.replace("1f6a2b3c4d5e", &format!("{at:012x}")))
        .collect::<Vec<_>>()
        .join(",")
}
