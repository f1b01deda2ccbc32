//! Follows the requests of an HTTP/1 connection as far as to know where each head ends, and what
//! the library below does not tell.
//!
//! Why: the library drops a fragment from a target without a word, and takes a line feed alone for
//! no end of a trailer section. A proxy in front that takes it for one would send the next client's
//! request, and here it would vanish in the trailer fields of the one before (request smuggling).
//! Both are refused (RFC 9112, sections 3.2 and 7.1.2).
//!
//! The library gets no bytes beyond a head before that head has become an exchange; so what its
//! body is like is known when the body comes.

/// Where in its requests a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between requests, where empty lines do not count.
    Before,
    /// In the first line of a head.
    Target,
    /// In a head, behind its first line. `line` tells whether the line has anything yet.
    Fields { line: bool },
    /// Behind a head that has not become an exchange yet.
    Pending,
    /// In a body: so many bytes are still to come.
    Sized(u64),
    /// In a body in chunks.
    Chunked(Chunk),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// In the line with a chunk's size, which is so far this. `digits` are still read.
    Size { size: u64, digits: bool },
    /// In a chunk's data and the line end behind it.
    Data(u64),
    /// In the trailer section. `line` tells whether the line has anything yet, `cr` whether a
    /// carriage return came last.
    Trailer { line: bool, cr: bool },
}

/// What is known of the body of a request that has become an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// So many bytes; usually none.
    Sized(u64),
    /// Chunks.
    Chunked,
}

/// What must not be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A line of trailer fields ends with a line feed alone.
    BareLineFeed,
}

/// Follows the bytes of a connection.
#[derive(Debug)]
pub(super) struct Messages {
    state: State,
    /// Whether the target of the last head has a fragment.
    fragment: bool,
}

impl Messages {
    pub(super) fn new() -> Self {
        Self {
            state: State::Before,
            fragment: false,
        }
    }

    /// Returns whether a head is complete that has not become an exchange.
    pub(super) fn is_pending(&self) -> bool {
        self.state == State::Pending
    }

    /// Returns whether no part of a request is missing.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Before
    }

    /// Takes what the head that was pending says of its body.
    pub(super) fn begin(&mut self, content: Content) {
        self.state = match content {
            Content::Sized(0) => State::Before,
            Content::Sized(bytes) => State::Sized(bytes),
            Content::Chunked => State::Chunked(Chunk::Size {
                size: 0,
                digits: true,
            }),
        };
    }

    /// Returns whether the target of the last complete head has a fragment.
    pub(super) fn has_fragment(&self) -> bool {
        self.fragment
    }

    /// Takes the next bytes, as far as the end of a head. Returns how many were taken.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.is_pending() {
                break;
            }
            taken += self.step(rest)?;
        }
        Ok(taken)
    }

    /// Takes a part of the bytes, of which there is one at least.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        match &mut self.state {
            State::Before => {
                let empty = bytes
                    .iter()
                    .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                    .count();
                if empty < bytes.len() {
                    self.state = State::Target;
                    self.fragment = false;
                }
                Ok(empty)
            }
            State::Target => {
                let (line, ends) = to_line_feed(bytes);
                self.fragment |= memchr::memchr(b'#', line).is_some();
                if ends {
                    self.state = State::Fields { line: false };
                }
                Ok(line.len())
            }
            State::Fields { line } if let Some(end) = end_of_fields(*line, bytes) => {
                self.state = State::Pending;
                Ok(end)
            }
            State::Fields { line } => {
                let (text, ends) = to_line_feed(bytes);
                // Nearly every line shows at its first letter that it is not empty.
                *line |= text.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
                if ends {
                    self.state = if *line {
                        State::Fields { line: false }
                    } else {
                        State::Pending
                    };
                }
                Ok(text.len())
            }
            State::Pending => Ok(0),
            State::Sized(left) => {
                let taken = (bytes.len() as u64).min(*left);
                *left -= taken;
                if *left == 0 {
                    self.state = State::Before;
                }
                Ok(usize::try_from(taken).unwrap_or(bytes.len()))
            }
            State::Chunked(chunk) => match chunk.step(bytes)? {
                (taken, Some(next)) => {
                    *chunk = next;
                    Ok(taken)
                }
                (taken, None) => {
                    self.state = State::Before;
                    Ok(taken)
                }
            },
        }
    }
}

impl Chunk {
    /// Takes a part of the bytes; returns how many, and where that leads: nowhere at the end of the
    /// body.
    fn step(self, bytes: &[u8]) -> Result<(usize, Option<Self>), Fault> {
        match self {
            Self::Size {
                mut size,
                mut digits,
            } => {
                let (line, ends) = to_line_feed(bytes);
                for byte in line {
                    match char::from(*byte).to_digit(16) {
                        Some(digit) if digits => {
                            size = size.saturating_mul(16).saturating_add(digit.into());
                        }
                        Some(_) => {}
                        None => digits = false,
                    }
                }
                let next = match (ends, size) {
                    (false, _) => Self::Size { size, digits },
                    (true, 0) => Self::Trailer {
                        line: false,
                        cr: false,
                    },
                    (true, _) => Self::Data(size.saturating_add(2)),
                };
                Ok((line.len(), Some(next)))
            }
            Self::Data(left) => {
                let taken = (bytes.len() as u64).min(left);
                let left = left - taken;
                let next = if left == 0 {
                    Self::Size {
                        size: 0,
                        digits: true,
                    }
                } else {
                    Self::Data(left)
                };
                Ok((usize::try_from(taken).unwrap_or(bytes.len()), Some(next)))
            }
            Self::Trailer { line, cr } => {
                let (text, ends) = to_line_feed(bytes);
                let before = text
                    .len()
                    .checked_sub(if ends { 2 } else { 1 })
                    .and_then(|at| text.get(at));
                let ends_with_cr = before.map_or(cr, |byte| *byte == b'\r');
                if ends && !ends_with_cr {
                    return Err(Fault::BareLineFeed);
                }
                let line = line || text.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
                let next = match (ends, line) {
                    (false, _) => Some(Self::Trailer {
                        line,
                        cr: ends_with_cr,
                    }),
                    (true, true) => Some(Self::Trailer {
                        line: false,
                        cr: false,
                    }),
                    (true, false) => None,
                };
                Ok((text.len(), next))
            }
        }
    }
}

/// Returns where the empty line behind the first fields ends, if it is here: most heads come whole,
/// and this is the quick way through them.
fn end_of_fields(line: bool, bytes: &[u8]) -> Option<usize> {
    if !line && matches!(bytes, [b'\r' | b'\n', ..]) {
        return None;
    }
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match bytes.get(at + 1..) {
        Some([b'\n', ..]) => Some(at + 2),
        Some([b'\r', b'\n', ..]) => Some(at + 3),
        Some(_) | None => None,
    })
}

/// Returns the bytes up to and with the first line feed, and whether there is one.
fn to_line_feed(bytes: &[u8]) -> (&[u8], bool) {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => (bytes.get(..=at).unwrap_or(bytes), true),
        None => (bytes, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows requests with their contents, whatever the pieces; returns which of them have a
    /// fragment.
    fn follow(requests: &[(&str, Content)], size: usize) -> Result<Vec<bool>, Fault> {
        let all: String = requests.iter().map(|(text, _)| *text).collect();
        let (mut messages, mut contents, mut fragments) =
            (Messages::new(), requests.iter(), Vec::new());
        for mut piece in all.as_bytes().chunks(size) {
            while !piece.is_empty() {
                if messages.is_pending() {
                    fragments.push(messages.has_fragment());
                    messages.begin(contents.next().unwrap().1);
                }
                let taken = messages.follow(piece)?;
                piece = &piece[taken..];
            }
        }
        if messages.is_pending() {
            fragments.push(messages.has_fragment());
        }
        Ok(fragments)
    }

    #[test]
    fn heads_end_where_they_end_however_the_bytes_are_cut() {
        let requests = [
            (
                "\r\n\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n",
                Content::Sized(0),
            ),
            ("POST /b#c HTTP/1.1\nhost: a\n\n12345", Content::Sized(5)),
            ("GET / HTTP/1.1\r\nx: #\r\n\r\n", Content::Sized(0)),
            (
                "PUT / HTTP/1.1\r\n\r\n5;a=#\r\n\n\n\r\n\n\r\n1F\r\n0123456789012345678901234567890\r\n00\r\n\r\n",
                Content::Chunked,
            ),
            ("GET /#\r\n\r\n", Content::Sized(0)),
            ("POST /\r\n\r\n\n\n\r\n\r\n", Content::Sized(6)),
            ("POST /\n\n\n\n\n\r", Content::Sized(4)),
            (
                "PUT / HTTP/1.1\r\n\r\n0;x\r\nx: y\r\nz: a\r\n\r\n",
                Content::Chunked,
            ),
            ("GET / HTTP/1.1\r\n\r\n", Content::Sized(0)),
        ];
        for size in [1, 2, 3, 7, 16, 1000] {
            let fragments = follow(&requests, size);
            assert_eq!(
                fragments,
                Ok(vec![
                    false, true, false, false, true, false, false, false, false
                ]),
                "pieces of {size}"
            );
        }
    }

    #[test]
    fn trailer_lines_end_with_both_or_not_at_all() {
        let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        for rest in [
            "0\r\n\nGET /",
            "0\r\nx: y\n\nGET /",
            "0\r\nx: y\r\n\nGET /",
            "3\r\nabc\r\n0\r\nx: y\n\r\n",
        ] {
            for size in [1, 2, 5, 1000] {
                let text = format!("{head}{rest}");
                assert_eq!(
                    follow(&[(&text, Content::Chunked)], size),
                    Err(Fault::BareLineFeed),
                    "{rest:?} in {size}"
                );
            }
        }
    }
}
