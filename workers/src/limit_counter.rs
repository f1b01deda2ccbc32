//! The Durable Object that owns one exact counter.

use serde::Deserialize;
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

/// Charges the counter of `key`; its answer as text.
pub(crate) async fn charge(env: &Env, key: &str) -> Result<String> {
    let stub = env.durable_object("LIMITS")?.get_by_name(key)?;
    stub.fetch_with_str("https://limits/charge").await?.text().await
}

/// Counts in the storage of its object.
#[durable_object]
pub struct LimitCounter {
    state: State,
}

#[derive(Deserialize)]
struct Row {
    n: f64,
}

impl DurableObject for LimitCounter {
    fn new(state: State, _env: Env) -> Self {
        let sql = state.storage().sql();
        if let Err(error) =
            sql.exec("CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, n REAL, at REAL)", None)
        {
            worker::console_error!("counter table: {error}");
        }
        Self { state }
    }

    async fn fetch(&self, _req: Request) -> Result<Response> {
        let sql = self.state.storage().sql();
        let now = worker::js_sys::Date::now();
        sql.exec(
            "INSERT INTO counter VALUES (1, 1, ?) ON CONFLICT (id) DO UPDATE SET n = n + 1, at = excluded.at",
            vec![now.into()],
        )?;
        let row: Row = sql.exec("SELECT n FROM counter WHERE id = 1", None)?.one()?;
        Response::ok(format!("{} {now}", row.n))
    }
}
