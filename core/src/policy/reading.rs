//! Policy text becomes raw values. Keys that do not exist are told all at once, and what comes
//! after them too: reading goes on as if they were spelt right, or were not there.

use serde::Deserialize;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use super::error::{Problem, Source};
use super::raw::RawPolicy;
use super::spelling;

/// Whoever has misspelt more keys is told of so many: each one costs another reading.
const MISSPELT_MAX: usize = 20;

/// Reads the raw policy. Returns nothing if the text cannot be read even without the keys that are
/// told.
pub(super) fn read(source: &mut Source<'_>) -> (Option<RawPolicy>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut result = toml::from_str(source.text());
    loop {
        let error = match result {
            Ok(raw) => return (Some(raw), problems),
            Err(error) => error,
        };
        problems.push(source.refused(&error));
        if problems.len() == MISSPELT_MAX || !mend(source, &error) {
            return (None, problems);
        }
        let Some(document) = source.document() else {
            return (None, problems);
        };
        result = RawPolicy::deserialize(Deserializer::from(document.clone()));
    }
}

/// Spells the key right that an error speaks of, or takes it out of the document. Returns whether
/// the error speaks of a key.
fn mend(source: &mut Source<'_>, error: &Error) -> bool {
    let Some(unknown) = spelling::unknown_key(error.message()) else {
        return false;
    };
    let (Some(span), Some(document)) = (error.span(), source.document_mut()) else {
        return false;
    };
    mend_table(document.get_mut(), span.start, unknown.meant())
}

fn mend_table(table: &mut DeTable<'_>, offset: usize, right: Option<&str>) -> bool {
    let wrong = table.keys().find(|key| key.span().start == offset).cloned();
    let Some((mut key, value)) = wrong.and_then(|key| table.remove_entry(&key)) else {
        return table
            .iter_mut()
            .any(|(_, value)| mend_value(value.get_mut(), offset, right));
    };
    if let Some(right) = right {
        *key.get_mut() = right.to_owned().into();
        if !table.contains_key(&key) {
            table.insert(key, value);
        }
    }
    true
}

fn mend_value(value: &mut DeValue<'_>, offset: usize, right: Option<&str>) -> bool {
    match value {
        DeValue::Table(table) => mend_table(table, offset, right),
        DeValue::Array(items) => items
            .iter_mut()
            .any(|item| mend_value(item.get_mut(), offset, right)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    }
}
