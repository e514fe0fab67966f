//! Requests byte by byte, as no client library writes them. Included by `#[path]`.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, sorted.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One request on a connection of its own. `head`: request line and headers, each ended by CRLF,
/// `Host` and `Connection` excepted.
pub async fn ask(address: SocketAddr, head: &[u8], body: &[u8]) -> Answer {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let mut request = head.to_vec();
    request.extend_from_slice(format!("Host: {address}\r\nConnection: close\r\n\r\n").as_bytes());
    request.extend_from_slice(body);
    connection.write_all(&request).await.unwrap();
    let mut heard = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), connection.read_to_end(&mut heard))
        .await
        .expect("no answer")
        .unwrap();
    let text = String::from_utf8(heard).unwrap();
    // What comes before it says only to go on (100).
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
    let header = |line: &str| {
        line.split_once(": ")
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .unwrap()
    };
    let mut headers: Vec<_> = lines.map(header).collect();
    headers.sort();
    Answer { status, headers, body: body.to_owned() }
}
