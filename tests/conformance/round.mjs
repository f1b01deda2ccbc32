// One round of the suite against one address.
//
// The suite's client keeps its results in its modules and changes the tests that it runs, so every round is a thread with modules of its own.

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { setBaseUrl, setFetch } from "http-cache-tests/client/config.mjs";
import { makeCacheTest, testResults } from "http-cache-tests/client/test.mjs";
import fetch from "node-fetch";
import { tests, withDependencies } from "./suite.mjs";

// How many tests are under way at once, always: the suite's own runner waits for the slowest of each batch.
const AT_ONCE = 25;

// Longest wait for one answer, in milliseconds.
const PATIENCE = 10_000;

// Runs every test in a thread; resolves to the results by id.
export function playRound(base) {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL(import.meta.url), { workerData: base });
    thread.once("message", resolve);
    thread.once("error", reject);
  });
}

// Runs one test after those that it depends on, here and once in a process; `dump` prints the requests and responses of client and origin.
export async function playOne(base, id, dump) {
  const chosen = withDependencies(id);
  await play(base, chosen.map((test) => Object.assign(test, { dump })), 1);
  return chosen.map((test) => [test, testResults[test.id]]);
}

async function play(base, chosen, atOnce) {
  setBaseUrl(base);
  setFetch((url, init) => fetch(url, { ...init, timeout: PATIENCE }));
  const waiting = chosen.values();
  const run = async () => {
    for (const test of waiting) await makeCacheTest(test);
  };
  await Promise.all(Array.from({ length: atOnce }, run));
}

if (!isMainThread) {
  await play(workerData, tests, AT_ONCE);
  parentPort.postMessage(testResults);
}
