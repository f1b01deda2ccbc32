// The committed list of tests that are known to fail, and why. The list must be true: it says neither too little nor too much.
//
// A reason is one sentence. `{ "flaky": "reason" }` is for a test that passes at times: then it may do either.

import { readFile, writeFile } from "node:fs/promises";
import { SHELLS } from "./shells.mjs";

const FILE = new URL("expected.json", import.meta.url);

// What is expected of a shell, by the test's id.
export async function readExpected(shell) {
  const { both, [shell]: own } = JSON.parse(await readFile(FILE, "utf8"));
  return { ...both, ...own };
}

// What differs between failures by id and what is expected, as lines for people.
export function differences(failures, expected) {
  const unlisted = [...failures].filter(([id]) => !(id in expected));
  const untrue = Object.entries(expected).filter(([id, reason]) => !failures.has(id) && !reason.flaky);
  return [
    ...unlisted.map(([id, why]) => `${id} fails and is not listed: ${why}`),
    ...untrue.map(([id]) => `${id} is listed and does not fail`),
  ];
}

// Lists the failures of a shell. Known reasons stay; a new one is what the suite says, for the author to replace.
export async function update(shell, failures) {
  const lists = Object.fromEntries(await Promise.all(SHELLS.map(async (name) => [name, await readExpected(name)])));
  const flaky = Object.entries(lists[shell]).filter(([, reason]) => reason.flaky);
  const failing = [...failures].map(([id, why]) => [id, lists[shell][id] ?? why]);
  lists[shell] = Object.fromEntries([...failing, ...flaky]);
  const shared = (id) => new Set(SHELLS.map((name) => JSON.stringify(lists[name][id]))).size === 1;
  const entries = (name, wanted) => Object.entries(lists[name]).filter(([id]) => wanted(id));
  const own = SHELLS.map((name) => [name, sorted(entries(name, (id) => !shared(id)))]);
  const all = { both: sorted(entries(shell, shared)), ...Object.fromEntries(own) };
  await writeFile(FILE, `${JSON.stringify(all, null, 2)}\n`);
}

function sorted(entries) {
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
