//! The Durable Object that owns one exact counter.
//!
//! It runs the core's own charge function over a state of one number, which is kept in its storage
//! (`SQLite`) and, while the object lives, in memory. When the state says no more than no state at
//! all, an alarm deletes it, and with it the object.

use std::cell::Cell;

use serde::{Deserialize, Serialize};
use tidegate_core::limit::gcra::Tat;
use tidegate_core::limit::round::{self, Act, Answer};
use tidegate_core::limit::{Charge, Quota};
use tidegate_core::{Millis, Timestamp};
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use crate::clock;

/// How long a spent state is kept: setting an alarm is a write, so it is not moved with every
/// charge.
const KEPT_FOR: Millis = 60_000;

/// What a counter is asked.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ask {
    act: Act,
    amount: u64,
    period: Millis,
    burst: u64,
    cost: u64,
    now: Timestamp,
}

impl Ask {
    pub(crate) fn new(act: Act, charge: &Charge, now: Timestamp) -> Self {
        let Quota {
            amount,
            period,
            burst,
        } = charge.limit.quota;
        Self {
            act,
            amount,
            period,
            burst,
            cost: charge.limit.cost,
            now,
        }
    }

    /// Does what is asked, on the state.
    fn act(&self, state: Option<Tat>) -> (Option<Tat>, Answer) {
        let Self {
            act,
            amount,
            period,
            burst,
            cost,
            now,
        } = *self;
        let quota = Quota {
            amount,
            period,
            burst,
        };
        round::act(act, &quota, cost, state, now)
    }
}

/// One counter.
#[durable_object]
pub struct LimitCounter {
    storage: State,
    tat: Cell<Option<Tat>>,
    /// Whether this instance has made sure that the table and the alarm exist.
    prepared: Cell<bool>,
}

/// The state as text: JavaScript's numbers are too small for it.
#[derive(Deserialize)]
struct Row {
    tat: String,
}

impl DurableObject for LimitCounter {
    fn new(storage: State, _env: Env) -> Self {
        // A new object has no table yet.
        let rows = storage
            .storage()
            .sql()
            .exec("SELECT tat FROM counter", None)
            .and_then(|c| c.to_array::<Row>());
        let tat = rows
            .unwrap_or_default()
            .first()
            .and_then(|row| row.tat.parse().ok())
            .map(Tat);
        Self {
            storage,
            tat: Cell::new(tat),
            prepared: Cell::new(false),
        }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let ask: Ask = serde_json::from_str(&request.text().await?)?;
        // From here to the write nothing is awaited, so no other request comes between.
        let before = self.tat.get();
        let (next, answer) = ask.act(before);
        // Who is only looked at leaves nothing behind.
        if let Some(next) = next {
            if before != Some(next) {
                self.save(next)?;
            }
            self.prepare_alarm(next).await?;
        }
        Response::ok(serde_json::to_string(&answer)?)
    }

    async fn alarm(&self) -> Result<Response> {
        match self.tat.get() {
            Some(tat) if !tat.is_spent(clock::now()) => {
                self.prepared.set(false);
                self.prepare_alarm(tat).await?;
            }
            Some(_) | None => {
                self.tat.set(None);
                self.prepared.set(false);
                self.storage.storage().delete_all().await?;
            }
        }
        Response::empty()
    }
}

impl LimitCounter {
    /// The answer leaves the object only when this has reached the disk: the platform sees to that.
    fn save(&self, tat: Tat) -> Result<()> {
        let sql = self.storage.storage().sql();
        if !self.prepared.get() {
            sql.exec(
                "CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, tat TEXT NOT NULL)",
                None,
            )?;
        }
        sql.exec(
            "INSERT OR REPLACE INTO counter VALUES (1, ?)",
            vec![tat.0.to_string().into()],
        )?;
        self.tat.set(Some(tat));
        Ok(())
    }

    async fn prepare_alarm(&self, tat: Tat) -> Result<()> {
        if self.prepared.replace(true) {
            return Ok(());
        }
        let spent_in = Timestamp::from_millis(tat.0.div_ceil(1_000_000)).since(clock::now());
        let offset = i64::try_from(spent_in.saturating_add(KEPT_FOR)).unwrap_or(i64::MAX);
        self.storage.storage().set_alarm(offset).await
    }
}
