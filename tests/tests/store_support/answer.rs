//! An HTTP answer as it came, and one as it was written down, with `...` for what differs each time.

use serde_json::Value;

pub struct Answer {
    pub status_line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// Head and body of HTTP/1.1 as text.
    pub fn parse(text: &str) -> Self {
        let text = text.replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status_line = lines.next().unwrap_or_default().trim().to_owned();
        let headers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Self { status_line, headers: headers.collect(), body: body.trim().to_owned() }
    }

    pub fn status(&self) -> u16 {
        self.status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// What is wrong with `given` if it was to be as `expected` says: status, every header named there, and the body.
pub fn difference(expected: &Answer, given: &Answer) -> Option<String> {
    if expected.status_line != given.status_line {
        return Some(format!("{:?} instead of {:?}: {}", given.status_line, expected.status_line, given.body));
    }
    for (name, value) in &expected.headers {
        let found = given.header(name);
        if found.is_none() || (value != "..." && found != Some(value)) {
            return Some(format!("header {name} is {found:?} instead of {value:?}"));
        }
    }
    let Ok(wanted) = serde_json::from_str::<Value>(&expected.body) else {
        return (expected.body != given.body).then(|| format!("body {:?} instead of {:?}", given.body, expected.body));
    };
    (!is_as(&wanted, &given.json())).then(|| format!("body {} instead of {wanted}", given.body))
}

/// `"..."` stands for any text that is not empty.
fn is_as(wanted: &Value, given: &Value) -> bool {
    match (wanted, given) {
        (Value::String(any), Value::String(text)) if any == "..." => !text.is_empty(),
        (Value::Array(wanted), Value::Array(given)) => {
            wanted.len() == given.len() && wanted.iter().zip(given).all(|(wanted, given)| is_as(wanted, given))
        }
        (Value::Object(wanted), Value::Object(given)) => {
            wanted.len() == given.len() && wanted.iter().all(|(name, wanted)| given.get(name).is_some_and(|given| is_as(wanted, given)))
        }
        _ => wanted == given,
    }
}
