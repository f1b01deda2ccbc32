// Runs the public conformance suite for HTTP caches, the npm package `http-cache-tests`, against both shells.
//
// node tests/conformance/run.mjs [--shell native|edge] [--rounds N] [--update]
// node tests/conformance/run.mjs --test ID [-v] [--shell native|edge]
//
// What fails must be listed in expected.json, and what is listed there must fail. `--update` writes the list anew. `--test` runs one test after
// those it depends on, in the native shell if no other is named; with `-v` it prints their requests and responses, as the client and the origin
// saw them.

import { parseArgs } from "node:util";
import { differences, readExpected, update } from "./expected.mjs";
import { startSuiteOrigin } from "./origin.mjs";
import { playOne, playRound } from "./round.mjs";
import { SHELLS, startShell } from "./shells.mjs";
import { failures, kind, majority, score, unsteady } from "./suite.mjs";

const { values: options } = parseArgs({
  options: {
    shell: { type: "string" },
    rounds: { type: "string", default: "3" },
    update: { type: "boolean", default: false },
    test: { type: "string" },
    verbose: { type: "boolean", short: "v", default: false },
  },
});

// Starts a shell in front of an origin of its own, and hands its URL and its check to `work`.
async function inFrontOfTheSuite(name, work) {
  const origin = await startSuiteOrigin();
  try {
    const shell = await startShell(name, origin.url);
    try {
      await shell.check();
      return await work(shell);
    } finally {
      await shell.close();
    }
  } finally {
    await origin.close();
  }
}

async function playRounds(name) {
  return inFrontOfTheSuite(name, async (shell) => {
    const rounds = [];
    while (rounds.length < Number(options.rounds)) {
      rounds.push(await playRound(shell.url));
      // The suite's client ends well even if it has reached nobody.
      await shell.check();
    }
    return rounds;
  });
}

// Prints what the rounds add up to; returns what differs from what is expected, as lines for people.
async function judge(name, rounds) {
  const outcomes = majority(rounds);
  const [required, optimal] = ["required", "optimal"].map((wanted) => score(outcomes, wanted));
  if (required.passed === 0) return ["not one required test passed"];
  console.log(`${name.padEnd(8)} required ${required.passed}/${required.all}   optimal ${optimal.passed}/${optimal.all}`);
  const changing = unsteady(rounds);
  if (changing.length > 0) console.log(`${name.padEnd(8)} not the same in every round: ${changing.join(", ")}`);
  const failed = failures(outcomes);
  if (options.update) await update(name, failed);
  const differing = differences(failed, await readExpected(name));
  if (differing.length === 0) {
    console.log(`${name.padEnd(8)} ${failed.size} fail and are expected to: tests/conformance/expected.json says why`);
  }
  return differing;
}

// Runs every test in the shells, which wait most of the time, at once.
async function runAll(names) {
  const played = await Promise.all(names.map((name) => playRounds(name).catch((error) => error)));
  for (const [position, name] of names.entries()) {
    const rounds = played[position];
    const lines = rounds instanceof Error ? [rounds.message] : await judge(name, rounds);
    for (const line of lines) console.error(`${name.padEnd(8)} ${line}`);
    if (lines.length > 0) process.exitCode = 1;
  }
}

// Runs one test.
async function runOne(name) {
  const results = await inFrontOfTheSuite(name, (shell) => playOne(shell.url, options.test, options.verbose));
  for (const [test, result] of results) {
    console.log(`${result === true ? "passed" : "FAILED"}  ${test.id} (${kind(test)}): ${test.name}`);
    if (result === true) continue;
    console.log(`        ${result.join(": ")}`);
    process.exitCode = 1;
  }
}

if (options.test === undefined) await runAll(options.shell === undefined ? SHELLS : [options.shell]);
else await runOne(options.shell ?? "native");
