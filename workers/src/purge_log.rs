//! The Durable Object that numbers purges, so that all isolates know their order.
//!
//! Isolates ask what has been purged since the last purge that they know of, and tell what they
//! purge. Of each label only the last purge is held, and not of all labels: who has missed what is
//! not held any more is told that everything was purged.

use std::cell::Cell;
use std::fmt::Write;

use serde::Deserialize;
use tidegate_core::purge::{Label, Number, NumberedPurge};
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::{Env, Result, SqlStorage, SqlStorageValue, worker_sys};

/// Most labels that the log holds. An isolate that begins reads them all.
const HELD: u32 = 10_000;

/// What the log is asked. Its text is the number, and a line for each purge.
pub(crate) struct Ask {
    /// The last purge that the asker knows of.
    pub(crate) since: Number,
    /// Purges to make.
    pub(crate) make: Vec<NumberedPurge>,
}

impl Ask {
    /// Writes it as text.
    pub(crate) fn write(&self) -> String {
        format!("{}{}", self.since, write_purges(&self.make))
    }

    fn read(text: &str) -> Option<Self> {
        let (since, make) = text.split_at(text.find('\n').unwrap_or(text.len()));
        Some(Self {
            since: since.parse().ok()?,
            make: read_purges(make)?,
        })
    }
}

/// Writes purges, each behind the end of a line: its number, its label or a hyphen for everything,
/// and whether it is soft.
fn write_purges(purges: &[NumberedPurge]) -> String {
    let mut text = String::new();
    for NumberedPurge {
        number,
        label,
        soft,
    } in purges
    {
        let soft = u8::from(*soft);
        let _ = match label {
            Some(label) => write!(text, "\n{number} {label} {soft}"),
            None => write!(text, "\n{number} - {soft}"),
        };
    }
    text
}

/// Reads what the log has answered: all purges that the asker did not know of, in order; its own
/// come last.
pub(crate) fn read_purges(text: &str) -> Option<Vec<NumberedPurge>> {
    let mut purges = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (number, rest) = line.split_once(' ')?;
        let (label, soft) = rest.split_once(' ')?;
        let label = match label {
            "-" => None,
            label => Some(label.parse().ok()?),
        };
        purges.push(NumberedPurge {
            number: number.parse().ok()?,
            label,
            soft: match soft {
                "0" => false,
                "1" => true,
                _ => return None,
            },
        });
    }
    Some(purges)
}

/// The log, as `workers/js/entry.mjs` calls it.
#[wasm_bindgen]
pub struct PurgeLog {
    storage: worker::State,
    /// Whether this instance has made sure that the table exists.
    prepared: Cell<bool>,
}

/// JavaScript's numbers are too small for a label: it is text, and empty for everything.
#[derive(Deserialize)]
struct Row {
    number: Number,
    label: String,
    soft: u8,
}

/// The one row that tells of all others.
#[derive(Deserialize)]
struct State {
    /// The last number.
    number: Number,
    /// How many labels there are.
    held: u32,
    /// The highest number that is not held any more.
    dropped: Number,
}

#[wasm_bindgen]
impl PurgeLog {
    /// Begins with what is stored.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker_sys::DurableObjectState, _env: Env) -> Self {
        Self {
            storage: state.into(),
            prepared: Cell::new(false),
        }
    }

    /// Answers what is asked, text for text.
    ///
    /// # Errors
    /// If the text is not understood, or the log cannot be read or written.
    pub fn ask(&self, text: &str) -> Result<String, JsValue> {
        Ok(self.answer(text)?)
    }
}

impl PurgeLog {
    /// Nothing is awaited, so no other request comes between.
    fn answer(&self, text: &str) -> Result<String> {
        let Ask { since, make } = Ask::read(text).ok_or("what is asked is not understood")?;
        self.prepare()?;
        // Read before its own are written: in their place in the table may be others that it does
        // not know of.
        let mut made = self.after(since)?;
        for own in make {
            made.push(NumberedPurge {
                number: self.append(own)?,
                ..own
            });
        }
        Ok(write_purges(&made))
    }

    fn sql(&self) -> SqlStorage {
        self.storage.storage().sql()
    }

    fn prepare(&self) -> Result<()> {
        if !self.prepared.replace(true) {
            for made in [
                "CREATE TABLE IF NOT EXISTS last (label TEXT, soft INTEGER, number INTEGER UNIQUE, PRIMARY KEY (label, soft))",
                "CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY, number INTEGER, held INTEGER, dropped INTEGER)",
                "INSERT OR IGNORE INTO state VALUES (1, 0, 0, 0)",
            ] {
                self.sql().exec(made, None)?;
            }
        }
        Ok(())
    }

    /// Writes a purge and returns its number.
    fn append(&self, made: NumberedPurge) -> Result<Number> {
        let sql = self.sql();
        let row = || -> Vec<SqlStorageValue> {
            vec![
                made.label
                    .map_or_else(String::new, |label| label.to_string())
                    .into(),
                i32::from(made.soft).into(),
            ]
        };
        if made.label.is_none() && !made.soft {
            // Nothing older is left for another one to reach.
            sql.exec("DELETE FROM last", None)?;
            sql.exec("UPDATE state SET held = 0", None)?;
        }
        sql.exec("UPDATE state SET held = held - (SELECT count(*) FROM last WHERE label = ? AND soft = ?)", row())?;
        sql.exec(
            "UPDATE state SET number = number + 1, held = held + 1",
            None,
        )?;
        sql.exec(
            "INSERT OR REPLACE INTO last VALUES (?, ?, (SELECT number FROM state))",
            row(),
        )?;
        let State { number, held, .. } = self.state()?;
        if held > HELD {
            sql.exec(
                "UPDATE state SET held = held - 1, dropped = (SELECT min(number) FROM last)",
                None,
            )?;
            sql.exec(
                "DELETE FROM last WHERE number = (SELECT dropped FROM state)",
                None,
            )?;
        }
        Ok(number)
    }

    fn state(&self) -> Result<State> {
        self.sql()
            .exec("SELECT number, held, dropped FROM state", None)?
            .one()
    }

    fn after(&self, since: Number) -> Result<Vec<NumberedPurge>> {
        let dropped = self.state()?.dropped;
        let mut made = Vec::new();
        if since < dropped {
            made.push(NumberedPurge {
                number: dropped,
                label: None,
                soft: false,
            });
        }
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let select = "SELECT number, label, soft FROM last WHERE number > CAST(? AS INTEGER) ORDER BY number";
        let rows: Vec<Row> = self
            .sql()
            .exec(select, vec![since.to_string().into()])?
            .to_array()?;
        for Row {
            number,
            label,
            soft,
        } in rows
        {
            let label = if label.is_empty() {
                None
            } else {
                Some(label.parse::<Label>().map_err(|e| e.to_string())?)
            };
            made.push(NumberedPurge {
                number,
                label,
                soft: soft != 0,
            });
        }
        Ok(made)
    }
}
