//! Owns where heads begin and end among the bytes of an HTTP/2 connection (RFC 9113, 4.1), and
//! which protocol it is. Looks at frame headers only; what they carry is the parser's.

/// What an HTTP/2 client sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

pub(super) enum Heads {
    /// So many bytes of the preface came.
    Undecided(usize),
    /// A head ends where the parser says so.
    Http1,
    Http2(Frames),
}

/// What the last bytes showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Only the parser knows what they are.
    Bytes,
    Frames {
        /// A frame that is no part of a body, or a whole head, has ended.
        ended: bool,
        /// They end within a head, or within a frame that is no part of a body.
        within: bool,
    },
}

/// Where within the frames the bytes stand.
#[derive(Default)]
pub(super) struct Frames {
    header: [u8; FRAME_HEADER],
    filled: usize,
    /// Of the frame's payload, not received.
    rest: usize,
    data: bool,
    /// Between a HEADERS frame and the END_HEADERS that belongs to it.
    within_head: bool,
}

impl Heads {
    pub(super) fn see(&mut self, mut bytes: &[u8]) -> Progress {
        if let Self::Undecided(matched) = self {
            let length = bytes.len().min(PREFACE.len() - *matched);
            if bytes[..length] != PREFACE[*matched..*matched + length] {
                *self = Self::Http1;
                return Progress::Bytes;
            }
            *matched += length;
            if *matched < PREFACE.len() {
                return Progress::Bytes;
            }
            bytes = &bytes[length..];
            *self = Self::Http2(Frames::default());
        }
        match self {
            Self::Http2(frames) => frames.see(bytes),
            _ => Progress::Bytes,
        }
    }
}

impl Frames {
    fn see(&mut self, mut bytes: &[u8]) -> Progress {
        let mut ended = false;
        while !bytes.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                self.rest -= skipped;
                bytes = &bytes[skipped..];
            } else {
                let length = bytes.len().min(FRAME_HEADER - self.filled);
                self.header[self.filled..self.filled + length].copy_from_slice(&bytes[..length]);
                self.filled += length;
                bytes = &bytes[length..];
                if self.filled < FRAME_HEADER {
                    break;
                }
                self.begin();
            }
            ended |= self.rest == 0 && !self.within_head;
        }
        // A stalled body has limits of its own; any other unfinished frame counts as a head.
        Progress::Frames {
            ended,
            within: self.within_head || self.filled > 0 || (self.rest > 0 && !self.data),
        }
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.filled = 0;
        self.rest = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        self.data = kind == DATA;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.within_head = flags & END_HEADERS == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEADER + usize::from(length), b'x');
        frame
    }

    /// Whether `bytes` end within a head, given at once and one by one.
    #[track_caller]
    fn ends_within(bytes: &[u8]) -> Option<bool> {
        let within = |seen| match seen {
            Progress::Bytes => None,
            Progress::Frames { within, .. } => Some(within),
        };
        let at_once = within(Heads::Undecided(0).see(bytes));
        let mut heads = Heads::Undecided(0);
        let one_by_one = bytes.iter().map(|byte| within(heads.see(&[*byte]))).last().flatten();
        assert_eq!(at_once, one_by_one);
        at_once
    }

    #[test]
    fn heads_of_http2_end_where_the_frames_say_so() {
        let head =
            [frame(HEADERS, 0, 5), frame(CONTINUATION, 0, 3), frame(CONTINUATION, END_HEADERS, 3)];
        let cases: [(Vec<Vec<u8>>, usize, bool); 8] = [
            (vec![], 0, false),
            (vec![frame(4, 0, 6)], 0, false),
            (vec![frame(HEADERS, END_HEADERS, 9)], 0, false),
            (vec![frame(HEADERS, END_HEADERS, 9)], 1, true),
            (head[..2].to_vec(), 0, true),
            (head.to_vec(), 0, false),
            (vec![frame(HEADERS, END_HEADERS, 9), frame(DATA, 0, 200)], 50, false),
            (vec![frame(6, 0, 8)], 12, true),
        ];
        for (frames, short, within) in cases {
            let bytes = [PREFACE.to_vec(), frames.concat()].concat();
            assert_eq!(
                ends_within(&bytes[..bytes.len() - short]),
                Some(within),
                "{frames:?} without {short}"
            );
        }
    }

    #[test]
    fn a_head_that_ends_is_told_from_the_next_that_begins() {
        let mut heads = Heads::Undecided(0);
        heads.see(PREFACE);
        let two = [frame(HEADERS, END_HEADERS, 9), frame(HEADERS, END_HEADERS, 9)].concat();
        assert_eq!(heads.see(&two[..12]), Progress::Frames { ended: false, within: true });
        assert_eq!(heads.see(&two[12..20]), Progress::Frames { ended: true, within: true });
        assert_eq!(heads.see(&two[20..]), Progress::Frames { ended: true, within: false });
    }

    #[test]
    fn what_is_no_preface_is_left_to_the_parser() {
        for bytes in [
            b"GET / HTTP/1.1\r\n".as_slice(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
            b"PRI",
            b"\x16\x03\x01\x02\x00",
        ] {
            assert_eq!(ends_within(bytes), None);
        }
    }
}
