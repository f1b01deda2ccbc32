//! What is wrong with a policy, and where.

use std::cell::OnceCell;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::spelling;

/// One thing wrong with a policy file, or one lint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The key, such as `routes[2].pool`; empty when the text is not TOML at all.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything wrong with a policy file; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// In the order of the file.
    pub problems: Vec<Problem>,
}

impl PolicyError {
    pub(super) fn of(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Self { problems }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// Says in one line what was found in a policy file; it closes the list of problems.
pub fn verdict(file: &str, valid: bool, errors: usize, warnings: usize) -> String {
    let verdict = if valid { "valid" } else { "not valid" };
    match (errors, warnings) {
        (0, 0) => format!("{file} is {verdict}"),
        (0, _) => format!("{file} is {verdict}: {}", count(warnings, "warning")),
        (_, 0) => format!("{file} is {verdict}: {}", count(errors, "error")),
        _ => format!(
            "{file} is {verdict}: {}, {}",
            count(errors, "error"),
            count(warnings, "warning")
        ),
    }
}

fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// One step of the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

/// The way to a value, such as `routes[2].pool`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyPath(pub(super) Vec<Segment>);

impl KeyPath {
    pub(super) fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|k| Segment::Key((*k).to_owned())).collect())
    }

    pub(super) fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Key(key.to_owned()));
        path
    }

    pub(super) fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Index(index));
        path
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if position > 0 => write!(f, ".{key}")?,
                Segment::Key(key) => f.write_str(key)?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A policy text that can say where its values stand.
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    /// Read only when something is wrong. `None` inside: the text is not TOML.
    document: OnceCell<Option<Spanned<DeTable<'a>>>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            document: OnceCell::new(),
        }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Returns the values of the text, if it is TOML.
    pub(super) fn document(&self) -> Option<&Spanned<DeTable<'a>>> {
        self.document
            .get_or_init(|| DeTable::parse(self.text).ok())
            .as_ref()
    }

    /// Returns them to be changed. What is changed keeps its place in the text.
    pub(super) fn document_mut(&mut self) -> Option<&mut Spanned<DeTable<'a>>> {
        self.document();
        self.document.get_mut()?.as_mut()
    }

    /// Makes a problem of a value known by its path; the line is that of the nearest part of the
    /// path that the file has.
    pub(super) fn problem(&self, path: &KeyPath, message: String) -> Problem {
        self.at(self.offset_of(path), path.to_string(), message)
    }

    /// Makes a problem of what the TOML reader refused.
    pub(super) fn refused(&self, error: &toml::de::Error) -> Problem {
        let offset = error.span().map_or(0, |span| span.start);
        let key = self.key_at(offset);
        let message = match spelling::unknown_word(error.message()) {
            Some(unknown) => unknown.to_string(),
            None => error.message().to_owned(),
        };
        self.at(offset, key, message.replace('\n', " "))
    }

    fn at(&self, offset: usize, key: String, message: String) -> Problem {
        let before = self.text.get(..offset).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Problem {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
            key,
            message,
        }
    }

    fn offset_of(&self, path: &KeyPath) -> usize {
        let Some(document) = self.document() else {
            return 0;
        };
        let mut offset = 0;
        let mut table = Some(document.get_ref());
        let mut value: Option<&DeValue<'_>> = None;
        for segment in &path.0 {
            let next = match segment {
                Segment::Key(key) => table
                    .and_then(|t| t.iter().find(|(k, _)| k.get_ref() == key))
                    .map(|(k, v)| (k.span().start, v)),
                Segment::Index(index) => value
                    .and_then(DeValue::as_array)
                    .and_then(|a| a.get(*index))
                    .map(|v| (v.span().start, v)),
            };
            let Some((start, found)) = next else { break };
            offset = start;
            value = Some(found.get_ref());
            table = found.get_ref().as_table();
        }
        offset
    }

    /// Returns the path of the innermost value that covers `offset`.
    fn key_at(&self, offset: usize) -> String {
        let Some(document) = self.document() else {
            return String::new();
        };
        let mut path = KeyPath::default();
        descend_table(document.get_ref(), offset, &mut path);
        path.to_string()
    }
}

fn descend_table(table: &DeTable<'_>, offset: usize, path: &mut KeyPath) {
    // Tables written with a header do not span their contents, so the deepest match wins, not the
    // first.
    for (key, value) in table {
        let mut inner = path.key(key.get_ref());
        if key.span().contains(&offset) || value.span().contains(&offset) {
            descend_value(value.get_ref(), offset, &mut inner);
            *path = inner;
            return;
        }
        let depth = inner.0.len();
        descend_value(value.get_ref(), offset, &mut inner);
        if inner.0.len() > depth {
            *path = inner;
            return;
        }
    }
}

fn descend_value(value: &DeValue<'_>, offset: usize, path: &mut KeyPath) {
    if let Some(table) = value.as_table() {
        descend_table(table, offset, path);
    } else if let Some(items) = value.as_array() {
        for (index, item) in items.iter().enumerate() {
            let mut inner = path.index(index);
            let depth = inner.0.len();
            descend_value(item.get_ref(), offset, &mut inner);
            if inner.0.len() > depth || item.span().contains(&offset) {
                *path = inner;
                return;
            }
        }
    }
}
