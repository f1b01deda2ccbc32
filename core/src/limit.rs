//! Limits: rates, budgets, slots and bandwidth.
//!
//! Why: one client must not use what belongs to all. A rate trips when its key has used its quota
//! and burst; it recovers by itself, at the quota's rate. A budget trips when its amount is used up,
//! and recovers when its window ends. Slots bound what is under way at once. All limits of a route
//! are checked first and only then consumed, so a refused request uses nothing. Bandwidth is not
//! charged to requests: it paces their bodies. A limit may have plans, whose quotas count for those who
//! are of them.

mod act;
pub mod bandwidth;
pub mod calendar;
mod charge;
mod cost;
mod definition;
pub mod gcra;
pub mod key;
pub mod lease;
pub mod leases;
#[cfg(feature = "source")]
pub mod overrides;
pub mod owing;
pub mod paces;
pub mod plans;
mod quota;
mod rate;
pub mod round;
mod rule;
pub mod script;
mod slots;
mod state;
mod store;
mod window;
pub mod wire;

pub use act::{Act, Answer, SettledBy, act, act_all, charge_all, unwanted};
pub use bandwidth::{Bandwidth, ByteRate, Direction};
pub use charge::{Charge, Charged, StoreFault};
pub use cost::{Cost, Known, Measure};
pub use definition::{Absent, KeyPart, Limit, Mode, OnStoreError, Page, Plan, Plans, ToldBy};
pub use paces::{Pace, Paces};
pub use quota::{Quota, Verdict};
pub use rule::{Budget, Rule, Slots, Terms, Windows};
pub use state::{SKEW_MAX, State};
pub use store::{CounterStore, Counters, StoreChange, StoreHealth, StoreKind, StoreTls};
pub use window::Window;
