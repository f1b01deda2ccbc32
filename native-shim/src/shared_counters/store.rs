//! The store of shared counters: one script is run for each question, and nobody waits longer for it
//! than the policy says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};
use scopeguard::{ScopeGuard, guard};
use strum::{EnumCount, VariantArray};
use tidegate_core::limit::script::{self, SKEW_OF_CALLER, Told};
use tidegate_core::limit::{
    Act, Answer, Charge, CounterStore, State, StoreChange, StoreFault, StoreHealth, act_all,
};
use tidegate_core::{Millis, Timestamp};
use tokio::sync::watch;

use super::connection::{Connector, Link};
use crate::clock::Clock;
use crate::stripes::{STRIPES, stripe};

/// The SHA-1 by which the store knows the script.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(script::CHARGE));

#[derive(Debug)]
pub(super) struct Store {
    connector: Connector,
    timeout: Millis,
    /// What the names of all keys begin with.
    prefix: String,
    /// Where it is, for messages.
    name: String,
    /// Threads do not share connections: each is driven by the runtime that has made it.
    links: [Mutex<Connection>; STRIPES],
    health: Mutex<StoreHealth>,
    faults: [AtomicU64; StoreFault::COUNT],
    /// What it has last said that was no answer.
    complaint: Mutex<String>,
    clock: Clock,
}

/// A connection, or the way to one.
#[derive(Debug, Default)]
enum Connection {
    #[default]
    None,
    Coming(watch::Receiver<Option<Result<Link, StoreFault>>>),
    Ready(Link),
}

/// What the script answers.
enum Said {
    States(Vec<Option<State>>),
    /// The caller's time is too far from the store's.
    OtherTime,
}

impl Store {
    pub(super) fn new(connector: Connector, policy: &CounterStore, clock: Clock) -> Self {
        let names = policy.addresses.iter();
        let names: Vec<String> = names.map(|(host, port)| format!("{host}:{port}")).collect();
        Self {
            connector,
            timeout: policy.timeout,
            prefix: policy.prefix.clone(),
            name: names.join(", "),
            links: Default::default(),
            health: Mutex::default(),
            faults: Default::default(),
            complaint: Mutex::default(),
            clock,
        }
    }

    /// Does what counters are asked. All of them lie in one slot, and the acts are of one kind.
    pub(super) async fn ask(&self, acts: &[(Charge, Act)]) -> Result<Vec<Answer>, StoreFault> {
        let answers = self.ask_if_it_is_worth_it(acts).await;
        if let Err(fault) = &answers {
            self.faults[*fault as usize].fetch_add(1, Ordering::Relaxed);
        }
        answers
    }

    async fn ask_if_it_is_worth_it(
        &self,
        acts: &[(Charge, Act)],
    ) -> Result<Vec<Answer>, StoreFault> {
        let permit = self.health().ask(self.timeout, self.clock.now())?;
        // A client that leaves says nothing about the store.
        let permit = guard(permit, |permit| {
            self.health().ended(permit, None, self.clock.now());
        });
        let patience = Duration::from_millis(self.timeout);
        let answers = tokio::time::timeout(patience, self.run(acts)).await;
        let answers = answers.unwrap_or(Err(StoreFault::Slow));
        let permit = ScopeGuard::into_inner(permit);
        let outcome = answers.as_ref().map(|_| ()).map_err(|fault| *fault);
        let change = self.health().ended(permit, Some(outcome), self.clock.now());
        self.tell(change, outcome.err());
        answers
    }

    /// Returns whether it is not asked at the moment, or only tried.
    pub(super) fn is_lost(&self) -> bool {
        self.health().is_lost()
    }

    /// Returns whether it is not asked at the moment.
    pub(super) fn is_resting(&self) -> bool {
        self.health().is_resting(self.clock.now())
    }

    /// Returns how many questions had no answer, and why.
    pub(super) fn faults(&self) -> Vec<(StoreFault, u64)> {
        let mut faults = Vec::with_capacity(StoreFault::COUNT);
        for (fault, count) in StoreFault::VARIANTS.iter().zip(&self.faults) {
            faults.push((*fault, count.load(Ordering::Relaxed)));
        }
        faults
    }

    /// Connects, and says so on standard error if that fails.
    pub(super) async fn greet(&self) {
        if let Err(error) = self.connector.connect().await {
            eprintln!(
                "tidegate: the counters' store at {} cannot be reached: {error}; limits do as on_store_error says until it can",
                self.name
            );
        }
    }

    /// Says once that it is lost, and once that it is back.
    fn tell(&self, change: Option<StoreChange>, fault: Option<StoreFault>) {
        match (change, fault) {
            (Some(StoreChange::Lost), Some(fault)) => {
                // A peer that has vanished without a word would be waited for for ever.
                for link in &self.links {
                    *lock(link) = Connection::None;
                }
                let fault: &str = fault.into();
                eprintln!(
                    "tidegate: the counters' store at {} has failed several times ({fault}{}); limits do as on_store_error says until it answers again",
                    self.name,
                    self.complaint()
                );
            }
            (Some(StoreChange::Back), _) => {
                eprintln!(
                    "tidegate: the counters' store at {} answers again",
                    self.name
                );
            }
            (Some(StoreChange::Lost), None) | (None, _) => {}
        }
    }

    async fn run(&self, acts: &[(Charge, Act)]) -> Result<Vec<Answer>, StoreFault> {
        let (link, is_kept) = self.link().await?;
        let answers = self.run_on(link, acts).await;
        // A connection that was kept may have been closed long ago, and nobody has seen it.
        if is_kept && answers == Err(StoreFault::Unreachable) {
            let (link, _) = self.link().await?;
            return self.run_on(link, acts).await;
        }
        answers
    }

    async fn run_on(
        &self,
        mut link: Link,
        acts: &[(Charge, Act)],
    ) -> Result<Vec<Answer>, StoreFault> {
        let mut is_first = true;
        loop {
            let now = self.health().time(self.clock.now());
            let value = self.call(&mut link, acts, now).await?;
            match self.read(&value, acts.len()) {
                // By the same time as the script has done it.
                Some(Said::States(mut states)) => {
                    return Ok(act_all(acts, &mut states, now));
                }
                Some(Said::OtherTime) if is_first => is_first = false,
                Some(Said::OtherTime) | None => return Err(StoreFault::Broken),
            }
        }
    }

    async fn call(
        &self,
        link: &mut Link,
        acts: &[(Charge, Act)],
        now: Timestamp,
    ) -> Result<Value, StoreFault> {
        // Tests have times of their own.
        let skew = matches!(self.clock, Clock::System).then_some(SKEW_OF_CALLER);
        let of_charge = |(charge, act): &(Charge, Act)| Told::of(charge, *act, now);
        let told: Vec<Told> = acts.iter().map(of_charge).collect();
        let arguments = script::arguments(&told, now, skew);
        let by_hash = self.command("EVALSHA", SCRIPT.get_hash(), acts, &arguments);
        let mut answer = link.send(&by_hash).await;
        let is_unknown =
            |error: &RedisError| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript);
        if answer.as_ref().is_err_and(is_unknown) {
            let whole = self.command("EVAL", script::CHARGE, acts, &arguments);
            answer = link.send(&whole).await;
        }
        answer.map_err(|error| {
            let fault = fault(&error);
            *self.complaint() = format!(": {error}");
            if fault == StoreFault::Unreachable {
                *lock(&self.links[stripe()]) = Connection::None;
            }
            fault
        })
    }

    fn command(
        &self,
        name: &str,
        script: &str,
        acts: &[(Charge, Act)],
        arguments: &[String],
    ) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(acts.len());
        for (charge, _) in acts {
            command.arg(self.key(charge));
        }
        command.arg(arguments);
        command
    }

    /// Names a counter. What is in braces says where a cluster keeps it.
    fn key(&self, charge: &Charge) -> String {
        format!("{}:{{{:04x}}}:{:?}", self.prefix, charge.home, charge.key)
    }

    /// Reads what the script has said, and learns the store's time.
    fn read(&self, value: &Value, count: usize) -> Option<Said> {
        let Value::Array(items) = value else {
            return None;
        };
        let (time, states) = items.split_first()?;
        let Value::Int(time) = time else {
            return None;
        };
        if matches!(self.clock, Clock::System) {
            let time = Timestamp::from_millis(u64::try_from(*time).ok()?);
            self.health().learn(time, self.clock.now());
        }
        if states.is_empty() {
            return Some(Said::OtherTime);
        }
        let mut read = Vec::with_capacity(count);
        for state in states {
            let Value::BulkString(text) = state else {
                return None;
            };
            let text = std::str::from_utf8(text).ok()?;
            read.push(script::read_state(text));
        }
        (read.len() == count).then_some(Said::States(read))
    }

    /// Returns this thread's connection, and whether it was there before. Making one goes on when
    /// nobody waits for it any more.
    async fn link(&self) -> Result<(Link, bool), StoreFault> {
        let place = &self.links[stripe()];
        let mut coming = {
            let mut connection = lock(place);
            match &*connection {
                Connection::Ready(link) => return Ok((link.clone(), true)),
                Connection::Coming(coming) => coming.clone(),
                Connection::None => {
                    let (made, coming) = watch::channel(None);
                    let connector = self.connector.clone();
                    tokio::spawn(async move {
                        let link = connector.connect().await;
                        made.send_replace(Some(link.map_err(|error| fault(&error))));
                    });
                    *connection = Connection::Coming(coming.clone());
                    coming
                }
            }
        };
        // The one who makes it is gone only with its runtime.
        let made = match coming.wait_for(Option::is_some).await {
            Ok(made) => made.clone().unwrap_or(Err(StoreFault::Unreachable)),
            Err(_) => Err(StoreFault::Unreachable),
        };
        *lock(place) = match &made {
            Ok(link) => Connection::Ready(link.clone()),
            Err(_) => Connection::None,
        };
        made.map(|link| (link, false))
    }

    fn complaint(&self) -> MutexGuard<'_, String> {
        self.complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, StoreHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fault(error: &RedisError) -> StoreFault {
    if error.code() == Some("OOM") {
        return StoreFault::Full;
    }
    if error.is_timeout() {
        return StoreFault::Slow;
    }
    let is_away = matches!(
        error.kind(),
        ErrorKind::Io
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::TryAgain
            )
    );
    if is_away || error.is_connection_dropped() || error.is_unrecoverable_error() {
        StoreFault::Unreachable
    } else {
        StoreFault::Broken
    }
}
