//! Clients that send what they like: HTTP/1 as text, HTTP/2 as frames (RFC 9113).

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::server::DEADLINE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const INITIAL_WINDOW_SIZE: u8 = 4;

pub struct Http1(pub TcpStream);

impl Http1 {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub async fn send(&mut self, text: &str) -> &mut Self {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self
    }

    pub async fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await.answer().await
    }

    /// One answer with Content-Length: head and body.
    pub async fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        let reading = async {
            while !is_complete(&answer) {
                let mut bytes = [0; 16 * 1024];
                match self.0.read(&mut bytes).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => answer.extend_from_slice(&bytes[..read]),
                }
            }
            io::Result::Ok(())
        };
        let read = timeout(DEADLINE, reading).await.expect("no answer");
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(read.is_ok(), "{read:?} after {text:?}");
        text
    }

    /// All that comes until the end. A reset is an end, too.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = timeout(DEADLINE, self.0.read_to_end(&mut rest))
            .await
            .expect("the connection does not end");
        String::from_utf8_lossy(&rest).into_owned()
    }
}

fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .to_ascii_lowercase()
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next()?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// The head of a request: fields of the static table, and literals that are not indexed (RFC
    /// 7541).
    pub fn head(stream: u32, method: &str, path: &str, flags: u8) -> Self {
        let method = if method == "GET" { 0x82 } else { 0x83 };
        let mut block = vec![method, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
        block.extend_from_slice(path.as_bytes());
        block.extend_from_slice(b"\x01\x09localhost");
        Self::new(HEADERS, flags | END_HEADERS, stream, block)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes(), &self.payload].concat()
    }
}

pub struct Http2(pub TcpStream);

impl Http2 {
    /// `window`: how much of each answer the server may send.
    pub async fn connect(address: SocketAddr, window: u32) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let setting = [&[0, INITIAL_WINDOW_SIZE][..], &window.to_be_bytes()].concat();
        stream
            .write_all(&[PREFACE, &Frame::new(SETTINGS, 0, 0, setting).bytes()].concat())
            .await
            .unwrap();
        Self(stream)
    }

    pub async fn send(&mut self, frames: &[Frame]) -> io::Result<()> {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.0.write_all(&bytes).await
    }

    /// The next frame; none at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await?;
            let mut payload =
                vec![
                    0;
                    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
                ];
            self.0.read_exact(&mut payload).await?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            io::Result::Ok(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        timeout(DEADLINE, reading).await.expect("neither a frame nor an end").ok()
    }

    /// Until a frame that is `wanted`.
    pub async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection ended");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Until the end; gives the last GOAWAY's reason.
    pub async fn ended(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                reason = frame
                    .payload
                    .get(4..8)
                    .map(|code| u32::from_be_bytes([code[0], code[1], code[2], code[3]]));
            }
        }
        reason
    }

    /// What the server answers on `stream`: its body.
    pub async fn body(&mut self, stream: u32) -> String {
        let mut body = Vec::new();
        loop {
            let frame = self.until(|frame| frame.stream == stream).await;
            if frame.kind == DATA {
                body.extend_from_slice(&frame.payload);
            }
            if frame.flags & END_STREAM > 0 || frame.kind == RST_STREAM {
                return String::from_utf8_lossy(&body).into_owned();
            }
        }
    }
}
