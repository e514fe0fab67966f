//! An answer as it was written down, `...` standing for what differs each time, against one as it
//! came.

use serde_json::Value;

use crate::answer::Answer;

/// What is wrong with `given` if it was to be as `expected` says: status, every header named there,
/// and the body.
pub fn difference(expected: &Answer, given: &Answer) -> Option<String> {
    if expected.status_line != given.status_line {
        return Some(format!(
            "{:?} instead of {:?}: {}",
            given.status_line, expected.status_line, given.body
        ));
    }
    for (name, value) in &expected.headers {
        let found = given.header(name);
        if found.is_none() || (value != "..." && found != Some(value)) {
            return Some(format!("header {name} is {found:?} instead of {value:?}"));
        }
    }
    let Ok(wanted) = serde_json::from_str::<Value>(&expected.body) else {
        return (expected.body != given.body)
            .then(|| format!("body {:?} instead of {:?}", given.body, expected.body));
    };
    (!is_as(&wanted, &given.json())).then(|| format!("body {} instead of {wanted}", given.body))
}

/// `"..."` stands for any text that is not empty.
fn is_as(wanted: &Value, given: &Value) -> bool {
    match (wanted, given) {
        (Value::String(any), Value::String(text)) if any == "..." => !text.is_empty(),
        (Value::Array(wanted), Value::Array(given)) => {
            wanted.len() == given.len()
                && wanted.iter().zip(given).all(|(wanted, given)| is_as(wanted, given))
        }
        (Value::Object(wanted), Value::Object(given)) => {
            wanted.len() == given.len()
                && wanted
                    .iter()
                    .all(|(name, wanted)| given.get(name).is_some_and(|given| is_as(wanted, given)))
        }
        _ => wanted == given,
    }
}
