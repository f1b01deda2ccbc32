// Promises are waited for. Imported by the wasm module.

// The longest time that the platform's timers know: 24 days.
const TIMER_MAX = 2 ** 31 - 1;

// `settled` is told the number, whether the promise is resolved, and with what it settled.
export function watch(promise, id, settled) {
  promise.then(
    (value) => settled(id, true, value),
    (error) => settled(id, false, error),
  );
}

// All that `pending` has made and that has not settled.
export const inFlight = new Set();

export function pending() {
  const made = Promise.withResolvers();
  inFlight.add(made);
  return made;
}

export function settle(made, isResolved, value) {
  inFlight.delete(made);
  if (isResolved) made.resolve(value);
  else made.reject(value);
}

// Settles as the promise does, or resolves to undefined after so many milliseconds.
export function within(promise, millis) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, Math.min(millis, TIMER_MAX));
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

export function sleep(millis) {
  return new Promise((resolve) => setTimeout(resolve, Math.min(millis, TIMER_MAX)));
}
