//! The Durable Object that numbers purges, so that all isolates know their order.
//!
//! Isolates ask what has been purged since the last purge that they know of, and tell what they purge. The log is bounded: who has missed what it does
//! not hold any more is told that everything was purged.

use std::cell::Cell;

use serde::{Deserialize, Serialize};
use tidegate_core::purge::{Label, Made, Number};
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

/// Most purges that the log holds.
const HELD: Number = 5000;

/// What the log is asked.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ask {
    /// The last purge that the asker knows of.
    pub(crate) since: Number,
    /// Purges to make.
    pub(crate) make: Vec<Made>,
}

/// What the log answers.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
    /// All purges that the asker does not know of, in order; its own come last.
    pub(crate) made: Vec<Made>,
}

/// The log.
#[durable_object]
pub struct PurgeLog {
    storage: State,
    /// Whether this instance has made sure that the table exists.
    prepared: Cell<bool>,
}

/// JavaScript's numbers are too small for a label: it is text.
#[derive(Deserialize)]
struct Row {
    number: Number,
    label: Option<String>,
    soft: u8,
}

#[derive(Deserialize)]
struct Bounds {
    first: Option<Number>,
}

impl DurableObject for PurgeLog {
    fn new(storage: State, _env: Env) -> Self {
        Self { storage, prepared: Cell::new(false) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let Ask { since, make } = serde_json::from_str(&request.text().await?)?;
        // Nothing is awaited from here on, so no other request comes between.
        self.prepare()?;
        for made in make {
            self.append(made)?;
        }
        Response::ok(serde_json::to_string(&Answer { made: self.after(since)? })?)
    }
}

impl PurgeLog {
    fn prepare(&self) -> Result<()> {
        if !self.prepared.replace(true) {
            let table = "CREATE TABLE IF NOT EXISTS purges (number INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT, soft INTEGER)";
            self.storage.storage().sql().exec(table, None)?;
        }
        Ok(())
    }

    fn append(&self, made: Made) -> Result<()> {
        let sql = self.storage.storage().sql();
        let label = made.label.map(|label| label.to_string());
        sql.exec("INSERT INTO purges (label, soft) VALUES (?, ?)", vec![label.into(), i32::from(made.soft).into()])?;
        let oldest = "DELETE FROM purges WHERE number <= (SELECT max(number) FROM purges) - ?";
        sql.exec(oldest, vec![i32::try_from(HELD).unwrap_or(i32::MAX).into()])?;
        Ok(())
    }

    fn after(&self, since: Number) -> Result<Vec<Made>> {
        let sql = self.storage.storage().sql();
        let bounds: Vec<Bounds> = sql.exec("SELECT min(number) AS first FROM purges", None)?.to_array()?;
        let first = bounds.first().and_then(|bounds| bounds.first).unwrap_or(1);
        let mut made = Vec::new();
        if since + 1 < first {
            made.push(Made { number: first - 1, label: None, soft: false });
        }
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let select = "SELECT number, label, soft FROM purges WHERE number > CAST(? AS INTEGER) ORDER BY number";
        let rows: Vec<Row> = sql.exec(select, vec![since.to_string().into()])?.to_array()?;
        let read = |row: Row| -> Option<Made> {
            let label: Option<Label> = row.label.map(|label| label.parse()).transpose().ok()?;
            Some(Made { number: row.number, label, soft: row.soft != 0 })
        };
        made.extend(rows.into_iter().filter_map(read));
        Ok(made)
    }
}
