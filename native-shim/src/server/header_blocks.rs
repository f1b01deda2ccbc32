//! Follows the frames of an HTTP/2 connection as far as to know whether a request's header fields
//! have begun and not ended.
//!
//! Why: they may come in any number of frames, and nothing else may come between these (RFC 9113,
//! section 4.3). A client that stops in the middle blocks its connection, and the protocol's
//! library waits without a limit.

/// What a client sends first when it speaks HTTP/2 (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where in the frames a connection is.
#[derive(Debug)]
pub(super) struct HeaderBlocks {
    /// The nine bytes before a frame's payload.
    start: [u8; 9],
    have: usize,
    /// Bytes to pass over: of the preface, of a payload.
    left: usize,
    open: bool,
    /// Whether the block ends with this frame.
    ends: bool,
}

/// What was seen among some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// The end of a block.
    pub(super) ended: bool,
    /// A block that has begun and not ended.
    pub(super) open: bool,
}

impl HeaderBlocks {
    pub(super) fn new() -> Self {
        Self {
            start: [0; 9],
            have: 0,
            left: PREFACE.len(),
            open: false,
            ends: false,
        }
    }

    /// Takes the next bytes.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Seen {
        let mut ended = false;
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                bytes = &bytes[passed..];
                self.left -= passed;
            } else {
                let taken = (self.start.len() - self.have).min(bytes.len());
                self.start[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                bytes = &bytes[taken..];
                self.have += taken;
                if self.have < self.start.len() {
                    break;
                }
                self.enter();
            }
            if self.left == 0 && self.ends {
                (self.open, self.ends) = (false, false);
                ended = true;
            }
        }
        Seen {
            ended,
            open: self.open,
        }
    }

    /// Enters the frame whose start is complete.
    fn enter(&mut self) {
        let [a, b, c, kind, flags, ..] = self.start;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.have = 0;
        if kind == HEADERS || kind == CONTINUATION {
            self.open = true;
            self.ends = flags & END_HEADERS != 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn blocks_are_followed_however_the_bytes_are_cut() {
        let cases = [
            (vec![frame(4, 0, b"")], false),
            (vec![frame(4, 0, b""), frame(1, 4, b"fields")], false),
            (vec![frame(1, 4, b"")], false),
            (vec![frame(1, 0, b"fields")], true),
            (vec![frame(1, 1, b"fields"), frame(9, 0, b"more")], true),
            (
                vec![
                    frame(1, 1, b"fields"),
                    frame(9, 0, b"more"),
                    frame(9, 4, b"end"),
                ],
                false,
            ),
            (vec![frame(1, 4, b"fields"), frame(0, 1, &[4; 300])], false),
            (vec![frame(1, 4, b"fields")[..12].to_vec()], true),
        ];
        for (frames, open) in cases {
            let all = [PREFACE, &frames.concat()].concat();
            for size in [1, 2, 7, 9, all.len()] {
                let mut blocks = HeaderBlocks::new();
                let last = all
                    .chunks(size)
                    .map(|piece| blocks.follow(piece).open)
                    .last();
                assert_eq!(last, Some(open), "{frames:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn the_end_of_one_block_is_seen_where_another_begins() {
        let (mut blocks, whole) = (HeaderBlocks::new(), frame(1, 4, b"fields"));
        assert_eq!(
            blocks.follow(&[PREFACE, &whole[..12]].concat()),
            Seen {
                ended: false,
                open: true
            }
        );
        for _ in 0..3 {
            let next = [&whole[12..], &whole[..12]].concat();
            assert_eq!(
                blocks.follow(&next),
                Seen {
                    ended: true,
                    open: true
                }
            );
        }
        assert_eq!(
            blocks.follow(&whole[12..]),
            Seen {
                ended: true,
                open: false
            }
        );
    }
}
