//! JSON (RFC 8259), read so strictly that nobody reads it in another way: an object with a member
//! twice is none (RFC 7519, section 4), nor is a text with half of a character.
//!
//! This is a reader of our own because the Worker has no other: nothing else there reads JSON on the
//! way of a request, and the usual reader brings ten kilobytes of tables for numbers with a point.
//! Here a number stays the text that it is.

use std::borrow::Cow;

/// How deep values may lie within each other.
const DEPTH_MAX: u8 = 16;

/// Most members of an object. Each is compared with those before it.
const MEMBERS_MAX: usize = 256;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// Each name once.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads a whole text; `None` if it is not one value.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        (reader.at == text.len()).then_some(value)
    }

    /// Returns a member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        let (_, value) = members.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// Returns the text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// Returns the items, if it is a list.
    pub(super) fn items(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Object(_) => None,
        }
    }
}

/// A text that is read from the front.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.next() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn skip_space(&mut self) {
        while matches!(self.next(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes a byte that may have space before it.
    fn take_mark(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.take(byte)
    }

    fn value(&mut self, depth: u8) -> Option<Json<'a>> {
        self.skip_space();
        match self.next()? {
            b'{' if depth < DEPTH_MAX => self.object(depth + 1),
            b'[' if depth < DEPTH_MAX => self.array(depth + 1),
            b'"' => self.string().map(Json::Text),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            b'-' | b'0'..=b'9' => self.number().map(Json::Number),
            _ => None,
        }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Option<Json<'a>> {
        let is_there = self.text.get(self.at..)?.starts_with(word);
        self.at += word.len();
        is_there.then_some(value)
    }

    fn object(&mut self, depth: u8) -> Option<Json<'a>> {
        let mut members: Vec<(Cow<'a, str>, Json<'a>)> = Vec::new();
        self.at += 1;
        if self.take_mark(b'}') {
            return Some(Json::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            let is_new = members.iter().all(|(known, _)| *known != name);
            if !is_new || members.len() == MEMBERS_MAX || !self.take_mark(b':') {
                return None;
            }
            members.push((name, self.value(depth)?));
            if self.take_mark(b'}') {
                return Some(Json::Object(members));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: u8) -> Option<Json<'a>> {
        let mut items = Vec::new();
        self.at += 1;
        if self.take_mark(b']') {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.take_mark(b']') {
                return Some(Json::Array(items));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn number(&mut self) -> Option<&'a str> {
        let from = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _has_sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        self.text.get(from..self.at)
    }

    /// Takes digits, one at least.
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.next().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        if !self.take(b'"') {
            return None;
        }
        let from = self.at;
        let mut read = String::new();
        // What is left to be copied begins here.
        let mut rest = from;
        loop {
            match self.next()? {
                b'"' => break,
                b'\\' => {
                    read.push_str(self.text.get(rest..self.at)?);
                    self.at += 1;
                    read.push(self.escaped()?);
                    rest = self.at;
                }
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
        let last = self.text.get(rest..self.at)?;
        self.at += 1;
        if rest == from {
            return Some(Cow::Borrowed(last));
        }
        read.push_str(last);
        Some(Cow::Owned(read))
    }

    /// Reads what stands behind a backslash.
    fn escaped(&mut self) -> Option<char> {
        let letter = self.next()?;
        self.at += 1;
        match letter {
            b'"' | b'\\' | b'/' => Some(char::from(letter)),
            b'b' => Some('\u{8}'),
            b'f' => Some('\u{c}'),
            b'n' => Some('\n'),
            b'r' => Some('\r'),
            b't' => Some('\t'),
            b'u' => self.character(),
            _ => None,
        }
    }

    /// Reads the number of a character, which may be two halves.
    fn character(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        if !(self.take(b'\\') && self.take(b'u')) {
            return None;
        }
        let second = self.four_digits()?;
        if !(0xdc00..0xe000).contains(&second) {
            return None;
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn four_digits(&mut self) -> Option<u32> {
        let mut number = 0;
        for _ in 0..4 {
            let digit = char::from(self.next()?).to_digit(16)?;
            self.at += 1;
            number = number << 4 | digit;
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use serde_json::Value;

    use super::Json;

    /// Compares with what the usual reader makes of a text.
    fn is_same(json: &Json<'_>, value: &Value) -> bool {
        match (json, value) {
            (Json::Null, Value::Null) => true,
            (Json::Bool(ours), Value::Bool(theirs)) => ours == theirs,
            (Json::Number(ours), Value::Number(theirs)) => {
                let (ours, theirs) = (ours.parse::<f64>().unwrap(), theirs.as_f64().unwrap());
                // Theirs is rounded in the last digit.
                (ours - theirs).abs() <= ours.abs() * 1e-12
            }
            (Json::Text(ours), Value::String(theirs)) => ours == theirs,
            (Json::Array(ours), Value::Array(theirs)) => {
                ours.len() == theirs.len()
                    && ours
                        .iter()
                        .zip(theirs)
                        .all(|(json, value)| is_same(json, value))
            }
            (Json::Object(ours), Value::Object(theirs)) => {
                ours.len() == theirs.len()
                    && ours
                        .iter()
                        .all(|(name, json)| is_same(json, &theirs[&**name]))
            }
            _ => false,
        }
    }

    const TEXTS: [&str; 12] = [
        "null",
        " [ true , false ] ",
        "{}",
        "[]",
        r#"{"a":{"b":[1,-2,3.5,1e3,-0.25E-2,0]},"c":"d"}"#,
        r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é""#,
        "\"\u{7f}\u{2028}\"",
        r#"{"iss":"joe",
 "exp":1300819380,
 "http://example.com/is_root":true}"#,
        r#"{"":1," ":2}"#,
        "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]",
        "0.10",
        r#"{"a":"","b":null}"#,
    ];

    #[test]
    fn what_is_read_is_what_others_read() {
        for text in TEXTS {
            let value: Value = serde_json::from_str(text).unwrap();
            let json = Json::read(text).unwrap_or_else(|| panic!("{text}"));
            assert!(is_same(&json, &value), "{text}");
        }
    }

    #[test]
    fn what_others_refuse_is_refused() {
        // Each text cut anywhere, and with one byte changed.
        for text in TEXTS {
            for position in 0..text.len() {
                if !text.is_char_boundary(position) {
                    continue;
                }
                let mut texts = vec![text[..position].to_owned()];
                for byte in b"\"\\{}[],:0-.e \n\x01tu" {
                    let mut changed = text.as_bytes().to_vec();
                    changed[position] = *byte;
                    texts.extend(String::from_utf8(changed));
                }
                for changed in texts {
                    let theirs = serde_json::from_str::<Value>(&changed);
                    let ours = Json::read(&changed);
                    match theirs {
                        // A number that is too large for them is a text here.
                        Err(error) => assert!(
                            ours.is_none() || error.to_string().contains("out of range"),
                            "{changed}"
                        ),
                        // A member that is there twice is what others do not refuse.
                        Ok(value) => {
                            assert!(ours.is_none_or(|ours| is_same(&ours, &value)), "{changed}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn members_are_there_once_and_values_do_not_lie_too_deep() {
        assert_eq!(Json::read(r#"{"a":1,"a":1}"#), None);
        assert_eq!(Json::read(r#"{"alg":"RS256","\u0061lg":"none"}"#), None);
        assert!(Json::read(r#"{"a":{"a":1}}"#).is_some());
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::read(&nested(16)).is_some());
        assert_eq!(Json::read(&nested(17)), None);
        let members = |count: usize| {
            let members: Vec<String> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(Json::read(&members(256)).is_some());
        assert_eq!(Json::read(&members(257)), None);
    }
}
