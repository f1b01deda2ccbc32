//! Futures that the runtime's promises move on.
//!
//! A future is polled when a promise settles that it waits for, in the very callback: the bindings'
//! own executor makes two closures for each promise, and takes another turn of the queue for each
//! wake. So a future also runs among the events of its own request only, as the platform wants it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tidegate_core::Millis;
use tidegate_core::map::Map;
use worker::wasm_bindgen::prelude::{Closure, wasm_bindgen};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{js_sys, worker_sys};

#[wasm_bindgen(module = "/js/promises.mjs")]
extern "C" {
    /// Calls `settled(id, whether it is resolved, value)` when the promise settles.
    fn watch(promise: &JsValue, id: f64, settled: &Settled);

    /// A promise that settles as the other one, or resolves to undefined after so long.
    #[wasm_bindgen(js_name = within)]
    fn settle_within(promise: &JsValue, millis: f64) -> js_sys::Promise;

    /// A promise, and what settles it; it rejects if this instance fails.
    #[wasm_bindgen(js_name = pending)]
    fn make_pending() -> Pending;

    /// Settles it.
    #[wasm_bindgen(js_name = settle)]
    fn settle_pending(pending: &Pending, is_resolved: bool, value: JsValue);

    /// What has not settled.
    #[wasm_bindgen(thread_local_v2, js_name = inFlight)]
    static IN_FLIGHT: JsValue;

    type Pending;

    #[wasm_bindgen(method, getter)]
    fn promise(this: &Pending) -> JsValue;

    /// A promise that resolves after so long.
    #[wasm_bindgen(js_name = sleep)]
    fn resolve_after(millis: f64) -> js_sys::Promise;
}

/// It never calls itself: promises settle between events only.
type Settled = Closure<dyn FnMut(f64, bool, JsValue)>;

/// A future under way. It is taken out while it is polled.
struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Waker,
    /// Whether it was woken while it was polled.
    is_woken: bool,
}

/// A promise that is waited for.
#[derive(Default)]
struct Wait {
    outcome: Option<Result<JsValue, JsValue>>,
    waker: Option<Waker>,
}

thread_local! {
    static TASKS: RefCell<Map<u64, Task>> = const { RefCell::new(Map::new()) };
    static WAITS: RefCell<Map<u64, Wait>> = const { RefCell::new(Map::new()) };
    /// The last number that was given to a task or a wait.
    static LAST: Cell<u64> = const { Cell::new(0) };
    static SETTLED: Settled = Closure::new(settled);
}

fn new_id() -> u64 {
    LAST.set(LAST.get() + 1);
    LAST.get()
}

/// What was promised and has not settled: a set of objects with a function `reject`.
pub(crate) fn in_flight() -> JsValue {
    IN_FLIGHT.with(JsValue::clone)
}

/// What is known of a future that was begun.
#[derive(Default)]
enum Outcome {
    #[default]
    Unknown,
    Known(Result<JsValue, JsValue>),
    Awaited(Pending),
}

/// Runs a future, at once as far as it goes. Returns its outcome if it has ended so, else a promise
/// of it.
pub(crate) fn begin<F>(future: F) -> Result<JsValue, JsValue>
where
    F: Future<Output = Result<JsValue, JsValue>> + 'static,
{
    let outcome = Rc::new(RefCell::new(Outcome::Unknown));
    spawn(tell(future, Rc::clone(&outcome)));
    if let Outcome::Known(known) = outcome.take() {
        return known;
    }
    let pending = make_pending();
    let promise = pending.promise();
    outcome.replace(Outcome::Awaited(pending));
    Ok(promise)
}

/// Drives a future to its end, and tells who wants to know.
async fn tell<F>(future: F, outcome: Rc<RefCell<Outcome>>)
where
    F: Future<Output = Result<JsValue, JsValue>>,
{
    let known = future.await;
    match outcome.take() {
        Outcome::Awaited(pending) => {
            let is_resolved = known.is_ok();
            let (Ok(value) | Err(value)) = known;
            settle_pending(&pending, is_resolved, value);
        }
        Outcome::Unknown | Outcome::Known(_) => {
            outcome.replace(Outcome::Known(known));
        }
    }
}

/// Runs a future that the platform must not end with the request.
pub(crate) fn keep_alive(
    request: &worker_sys::Context,
    future: impl Future<Output = ()> + 'static,
) -> Result<(), worker::Error> {
    let ended = begin(async move {
        future.await;
        Ok(JsValue::UNDEFINED)
    })?;
    if !ended.is_undefined() {
        request.wait_until(&ended.unchecked_into())?;
    }
    Ok(())
}

fn spawn(future: impl Future<Output = ()> + 'static) {
    let id = new_id();
    let task = Task {
        future: Some(Box::pin(future)),
        waker: Waker::from(Arc::new(TaskWaker(id))),
        is_woken: false,
    };
    TASKS.with_borrow_mut(|tasks| tasks.insert(id, task));
    run(id);
}

struct TaskWaker(u64);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        run(self.0);
    }
}

/// Polls a task until it waits, or has ended. One that is being polled is polled once more by who
/// does so.
fn run(id: u64) {
    while let Some((mut future, waker)) = TASKS.with_borrow_mut(|tasks| take(tasks, id)) {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            let _ended = TASKS.with_borrow_mut(|tasks| tasks.remove(&id));
            return;
        }
        if !TASKS.with_borrow_mut(|tasks| put_back(tasks, id, future)) {
            return;
        }
    }
}

type Taken = (Pin<Box<dyn Future<Output = ()>>>, Waker);

fn take(tasks: &mut Map<u64, Task>, id: u64) -> Option<Taken> {
    let task = tasks.get_mut(&id)?;
    task.is_woken = task.future.is_none();
    Some((task.future.take()?, task.waker.clone()))
}

/// Says whether the task was woken meanwhile.
fn put_back(
    tasks: &mut Map<u64, Task>,
    id: u64,
    future: Pin<Box<dyn Future<Output = ()>>>,
) -> bool {
    let Some(task) = tasks.get_mut(&id) else {
        return false;
    };
    task.future = Some(future);
    task.is_woken
}

/// What a promise settles with, some day.
pub(crate) struct Promised(u64);

/// Waits for a promise.
pub(crate) fn wait(promise: &JsValue) -> Promised {
    let id = new_id();
    WAITS.with_borrow_mut(|waits| waits.insert(id, Wait::default()));
    #[expect(clippy::cast_precision_loss, reason = "no isolate counts to 2^53")]
    SETTLED.with(|settled| watch(promise, id as f64, settled));
    Promised(id)
}

/// Waits for a promise so long, and no longer: `None` if it has not settled then.
pub(crate) async fn within(longest: Millis, promise: &JsValue) -> Option<Result<JsValue, JsValue>> {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    match wait(&settle_within(promise, longest as f64)).await {
        Ok(value) if value.is_undefined() => None,
        outcome => Some(outcome),
    }
}

/// Waits so long.
pub(crate) async fn sleep(millis: Millis) {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let _ = wait(&resolve_after(millis as f64)).await;
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was made from a whole number"
)]
fn settled(id: f64, is_resolved: bool, value: JsValue) {
    let outcome = if is_resolved { Ok(value) } else { Err(value) };
    let waker = WAITS.with_borrow_mut(|waits| {
        // Nobody waits any more if there is none.
        let wait = waits.get_mut(&(id as u64))?;
        wait.outcome = Some(outcome);
        wait.waker.take()
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Future for Promised {
    type Output = Result<JsValue, JsValue>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        WAITS.with_borrow_mut(|waits| {
            // It is there until this is dropped.
            let Some(wait) = waits.get_mut(&self.0) else {
                return Poll::Pending;
            };
            if let Some(outcome) = wait.outcome.take() {
                return Poll::Ready(outcome);
            }
            wait.waker = Some(context.waker().clone());
            Poll::Pending
        })
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        let _unheard = WAITS.with_borrow_mut(|waits| waits.remove(&self.0));
    }
}
