//! Interim responses (1xx) ahead of an answer, found among the bytes on their way to the library.
//!
//! The library tells of them only through a callback that is allocated for each request. There are
//! hardly ever any, and a look at the first bytes of an answer shows it.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Most bytes of one interim response that are looked at.
const BYTES_MAX: usize = 32 << 10;

/// Most header fields of one interim response that are looked at.
const FIELDS_MAX: usize = 256;

/// What has come ahead of an answer.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The beginning of a response that is not whole.
    begun: Vec<u8>,
    /// Whether the answer itself has begun, or nothing can be made of what comes.
    over: bool,
}

impl Ahead {
    /// Another request has been sent.
    pub(super) fn begin(&mut self) {
        self.begun.clear();
        self.over = false;
    }

    /// Takes the next bytes. Returns the interim responses that they complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<(StatusCode, HeaderMap)> {
        let mut found = Vec::new();
        if self.over || self.begun.is_empty() && is_interim(bytes) == Some(false) {
            self.over = true;
            return found;
        }
        self.begun.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(rest) = self
            .begun
            .get(at..)
            .filter(|rest| is_interim(rest) == Some(true))
        {
            match read(rest) {
                Head::Whole(length, status, fields) if status.is_informational() => {
                    at += length;
                    found.push((status, fields));
                }
                Head::Begun => break,
                // What follows may be the answer's body.
                Head::Whole(..) | Head::Unreadable => {
                    self.over = true;
                    break;
                }
            }
        }
        self.begun.drain(..at);
        self.over |= self.begun.len() > BYTES_MAX || is_interim(&self.begun) == Some(false);
        if self.over {
            self.begun = Vec::new();
        }
        found
    }
}

/// Returns whether a response begins as an interim one, if that much of it has come.
fn is_interim(bytes: &[u8]) -> Option<bool> {
    // As in `HTTP/1.1 103`.
    bytes.get(9).map(|digit| *digit == b'1')
}

enum Head {
    Whole(usize, StatusCode, HeaderMap),
    Begun,
    Unreadable,
}

fn read(bytes: &[u8]) -> Head {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Head::Begun,
        Err(_) => return Head::Unreadable,
    };
    let Some(status) = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
    else {
        return Head::Unreadable;
    };
    let field = |field: &httparse::Header<'_>| {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(field.value).ok()?))
    };
    let mut map = HeaderMap::new();
    for (name, value) in response.headers.iter().filter_map(field) {
        map.append(name, value);
    }
    Head::Whole(length, status, map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statuses(text: &str, size: usize) -> Vec<u16> {
        let mut ahead = Ahead::default();
        ahead.begin();
        let pieces = text.as_bytes().chunks(size);
        pieces
            .flat_map(|piece| ahead.take(piece))
            .map(|(status, _)| status.as_u16())
            .collect()
    }

    #[test]
    fn what_comes_before_the_answer_is_found_however_it_is_cut() {
        let early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\nHTTP/1.1 103 x\r\n\r\n";
        for size in [1, 2, 9, 10, 50, 1000] {
            assert_eq!(
                statuses(answer, size),
                Vec::<u16>::new(),
                "pieces of {size}"
            );
            let text = format!("{early}HTTP/1.1 102 Processing\r\n\r\n{answer}{early}");
            assert_eq!(statuses(&text, size), [103, 102], "pieces of {size}");
            let odd = "\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 103 a\r\n\r\n";
            assert_eq!(statuses(odd, size), Vec::<u16>::new(), "pieces of {size}");
            assert_eq!(
                statuses("HTTP/1.1 1x3 no\r\n\r\nHTTP/1.1 103 a\r\n\r\n", size),
                Vec::<u16>::new()
            );
        }
        let fields = Ahead::default().take(early.as_bytes()).pop().unwrap().1;
        assert_eq!(fields.get_all("link").iter().count(), 2);
    }

    #[test]
    fn an_interim_response_without_end_is_let_go() {
        let mut ahead = Ahead::default();
        assert!(ahead.take(b"HTTP/1.1 103 a\r\n").is_empty());
        for _ in 0..BYTES_MAX {
            assert!(ahead.take(b"a: b\r\n").is_empty());
        }
        assert!(ahead.over && ahead.begun.capacity() == 0);
    }
}
