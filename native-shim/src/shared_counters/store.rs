//! The store of shared counters: one script is run for each question, and nobody waits longer for it
//! than the policy says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind, Value};
use scopeguard::{ScopeGuard, guard};
use strum::{EnumCount, VariantArray};
use tidegate_core::limit::script::{self, SKEW_OF_CALLER, Told};
use tidegate_core::limit::{
    Act, Answer, Charge, CounterStore, State, StoreChange, StoreFault, StoreHealth, act_all,
    unwanted,
};
use tidegate_core::{Millis, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

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
    /// A few connections, of which each thread uses one: each is driven by the runtime that has made
    /// it.
    links: [Mutex<Connection>; STRIPES],
    health: Mutex<StoreHealth>,
    faults: [AtomicU64; StoreFault::COUNT],
    /// What it has last said that was no answer.
    complaint: Mutex<String>,
    clock: Clock,
}

/// The place of a connection.
#[derive(Debug, Default)]
struct Connection {
    /// Counts the ways that were begun to one. Whoever has found an older one to be lost changes
    /// nothing.
    generation: u64,
    way: Way,
}

/// A connection, or the way to one.
#[derive(Debug, Default)]
enum Way {
    #[default]
    None,
    Coming(watch::Receiver<Option<Result<Link, StoreFault>>>),
    Ready(Link),
}

/// A connection as a question uses it.
struct Used {
    link: Link,
    generation: u64,
    /// Whether it was there before.
    is_kept: bool,
}

/// After how long an answer does not come any more.
const LATEST: Duration = Duration::from_secs(10);

/// For how long a counter is told what it has not heard.
const PERSEVERANCE: Millis = 60_000;

/// How often that is tried.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A question under way. It goes on when nobody waits for it any more, since the store may have
/// heard it: what it takes then is given back.
struct Question {
    store: Arc<Store>,
    acts: Arc<[(Charge, Act)]>,
    answers: oneshot::Receiver<Result<Vec<Answer>, StoreFault>>,
}

impl Question {
    fn begin(store: &Arc<Store>, acts: &[(Charge, Act)]) -> Self {
        let (told, answers) = oneshot::channel();
        let acts: Arc<[(Charge, Act)]> = acts.into();
        let (asked, asks) = (Arc::clone(&acts), Arc::clone(store));
        tokio::spawn(async move {
            let answers = asks.run_patiently(&asked).await;
            if let Err(Ok(answers)) = told.send(answers) {
                asks.give_back(&asked, &answers).await;
            }
        });
        Self {
            store: Arc::clone(store),
            acts,
            answers,
        }
    }

    async fn answers(&mut self) -> Result<Vec<Answer>, StoreFault> {
        // Whoever asks is gone only with its runtime.
        let answers = (&mut self.answers).await;
        answers.unwrap_or(Err(StoreFault::Unreachable))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.answers.close();
        // They may have come just now.
        if let Ok(Ok(answers)) = self.answers.try_recv()
            && let Ok(runtime) = Handle::try_current()
        {
            let (store, acts) = (Arc::clone(&self.store), Arc::clone(&self.acts));
            runtime.spawn(async move { store.give_back(&acts, &answers).await });
        }
    }
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

    /// Does what counters are asked. All of them lie in one slot, and the acts are of one kind. What is
    /// taken for somebody who waits no longer is given back.
    pub(super) async fn ask(
        self: &Arc<Self>,
        acts: &[(Charge, Act)],
    ) -> Result<Vec<Answer>, StoreFault> {
        let answers = self.ask_if_it_is_worth_it(acts).await;
        if let Err(fault) = &answers {
            self.faults[*fault as usize].fetch_add(1, Ordering::Relaxed);
        }
        answers
    }

    async fn ask_if_it_is_worth_it(
        self: &Arc<Self>,
        acts: &[(Charge, Act)],
    ) -> Result<Vec<Answer>, StoreFault> {
        let permit = self.health().ask(self.timeout, self.clock.now())?;
        // A client that leaves says nothing about the store.
        let permit = guard(permit, |permit| {
            self.health().ended(permit, None, self.clock.now());
        });
        let mut question = Question::begin(self, acts);
        let patience = Duration::from_millis(self.timeout);
        let answers = tokio::time::timeout(patience, question.answers()).await;
        let answers = answers.unwrap_or(Err(StoreFault::Slow));
        let permit = ScopeGuard::into_inner(permit);
        let outcome = answers.as_ref().map(|_| ()).map_err(|fault| *fault);
        let change = self.health().ended(permit, Some(outcome), self.clock.now());
        self.tell(change, outcome.err());
        answers
    }

    /// Tells a counter something of which nobody waits for the answer, and tries again for some time
    /// if `perseveres`. It says nothing about whether the store is worth to be asked.
    pub(super) async fn inform(&self, act: (Charge, Act), perseveres: bool) {
        let acts = [act];
        let begun = self.clock.now();
        loop {
            // What is only late may have been done: done twice, it would give too much back.
            let is_told = !self.is_resting()
                && self.run_patiently(&acts).await != Err(StoreFault::Unreachable);
            let is_late = self.clock.now().since(begun) >= PERSEVERANCE;
            if is_told || is_late || !perseveres {
                return;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn run_patiently(&self, acts: &[(Charge, Act)]) -> Result<Vec<Answer>, StoreFault> {
        let answers = tokio::time::timeout(LATEST, self.run(acts)).await;
        answers.unwrap_or(Err(StoreFault::Slow))
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
                    lock(link).way = Way::None;
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

    async fn give_back(&self, acts: &[(Charge, Act)], answers: &[Answer]) {
        for refund in unwanted(acts, answers) {
            self.inform(refund, true).await;
        }
    }

    async fn run(&self, acts: &[(Charge, Act)]) -> Result<Vec<Answer>, StoreFault> {
        // A question stays with the connections of one thread.
        let stripe = stripe();
        let used = self.link(stripe).await?;
        let is_kept = used.is_kept;
        let answers = self.run_on(stripe, used, acts).await;
        // A connection that was kept may have been closed long ago, and nobody has seen it.
        if is_kept && answers == Err(StoreFault::Unreachable) {
            let used = self.link(stripe).await?;
            return self.run_on(stripe, used, acts).await;
        }
        answers
    }

    async fn run_on(
        &self,
        stripe: usize,
        mut used: Used,
        acts: &[(Charge, Act)],
    ) -> Result<Vec<Answer>, StoreFault> {
        let mut is_first = true;
        loop {
            let now = self.health().time(self.clock.now());
            let value = self.call(&mut used.link, acts, now).await;
            if value
                .as_ref()
                .is_err_and(|fault| *fault == StoreFault::Unreachable)
            {
                self.forget(stripe, used.generation);
            }
            let value = value?;
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
            *self.complaint() = format!(": {error}");
            fault(&error)
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

    /// Returns a connection. Making one goes on when nobody waits for it any more.
    async fn link(&self, stripe: usize) -> Result<Used, StoreFault> {
        let place = &self.links[stripe];
        let (mut coming, generation) = {
            let mut connection = lock(place);
            if let Way::None = connection.way {
                let (made, coming) = watch::channel(None);
                let connector = self.connector.clone();
                tokio::spawn(async move {
                    let link = connector.connect().await;
                    made.send_replace(Some(link.map_err(|error| fault(&error))));
                });
                connection.generation += 1;
                connection.way = Way::Coming(coming);
            }
            match &connection.way {
                Way::Ready(link) => {
                    return Ok(Used {
                        link: link.clone(),
                        generation: connection.generation,
                        is_kept: true,
                    });
                }
                Way::Coming(coming) => (coming.clone(), connection.generation),
                Way::None => return Err(StoreFault::Unreachable),
            }
        };
        // The one who makes it is gone only with its runtime.
        let made = match coming.wait_for(Option::is_some).await {
            Ok(made) => made.clone().unwrap_or(Err(StoreFault::Unreachable)),
            Err(_) => Err(StoreFault::Unreachable),
        };
        let Ok(link) = &made else {
            self.forget(stripe, generation);
            return Err(made.err().unwrap_or(StoreFault::Unreachable));
        };
        let mut connection = lock(place);
        if connection.generation == generation && matches!(connection.way, Way::Coming(_)) {
            connection.way = Way::Ready(link.clone());
        }
        Ok(Used {
            link: link.clone(),
            generation,
            is_kept: false,
        })
    }

    /// Has another connection made, unless that has been begun already.
    fn forget(&self, stripe: usize, generation: u64) {
        let mut connection = lock(&self.links[stripe]);
        if connection.generation == generation {
            connection.way = Way::None;
        }
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
