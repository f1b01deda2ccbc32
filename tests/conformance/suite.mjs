// The suite's tests, those that apply to a proxy, and what the results of a run add up to.

import groups from "http-cache-tests/tests/index.mjs";

// Every test that is not for browsers only, in the suite's order.
export const tests = groups.flatMap((group) => group.tests).filter((test) => !test.browser_only);

const byId = new Map(tests.map((test) => [test.id, test]));

export const kind = (test) => test.kind ?? "required";

// The test of this id after all that it depends on, directly or not.
export function withDependencies(id) {
  const test = byId.get(id);
  if (test === undefined) throw new Error(`the suite has no test \`${id}\` for a proxy`);
  return [...new Set([...(test.depends_on ?? []).flatMap(withDependencies), test])];
}

// What most rounds say of each test: `null` where it passed, else what was wrong with it.
//
// A round is what the suite's client leaves: by id, `true` or the kind and the message of a failure.
export function majority(rounds) {
  const outcome = ({ id }) => {
    const results = rounds.map((round) => round[id]);
    const failures = results.filter((result) => result !== true);
    const passed = failures.length * 2 < results.length;
    return [id, passed ? null : (failures.at(-1)?.join(": ") ?? "it was not run")];
  };
  return new Map(tests.map(outcome));
}

// The tests whose rounds differ.
export function unsteady(rounds) {
  return tests.filter(({ id }) => new Set(rounds.map((round) => round[id] === true)).size > 1).map(({ id }) => id);
}

// Why a test failed, or `null`. A test says nothing when one that it depends on has failed, so it has failed too.
export function failure(outcomes, id) {
  const failed = byId.get(id).depends_on?.find((other) => !byId.has(other) || failure(outcomes, other) !== null);
  return failed === undefined ? outcomes.get(id) : `dependency: ${failed} failed`;
}

// How many tests of a kind there are, and how many passed.
export function score(outcomes, wanted) {
  const all = tests.filter((test) => kind(test) === wanted);
  return { passed: all.filter(({ id }) => failure(outcomes, id) === null).length, all: all.length };
}

// What counts: by id, why a required or an optimal test failed. The other tests only inform.
export function failures(outcomes) {
  const counted = tests.filter((test) => kind(test) !== "check").map(({ id }) => [id, failure(outcomes, id)]);
  return new Map(counted.filter(([, why]) => why !== null));
}
