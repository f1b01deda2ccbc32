// Every golden fixture over HTTP through the Worker: it must come out as it does where the core runs alone.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { parse } from "smol-toml";
import { run } from "./fixture.mjs";
import { startWorker } from "./harness.mjs";

const folder = new URL("../golden/", import.meta.url);
const files = readdirSync(folder).filter((file) => file.endsWith(".toml")).sort();
// Numbers beyond 2^53 appear in no fixture that runs over HTTP.
const fixtures = files.map((file) => ({ name: file.slice(0, -5), ...parse(readFileSync(new URL(file, folder), "utf8")) }));

// What the platform does before the Worker sees a request, or allows it to send: these come out otherwise at the edge.
const AT_THE_EDGE = {
  "bandwidth-request": "the virtual clock stands still while an origin is waited for",
};

describe("parity", () => {
  let worker;
  before(async () => {
    worker = await startWorker();
  });
  after(() => worker?.close());

  for (const fixture of fixtures) {
    const skip = fixture.core_only ?? AT_THE_EDGE[fixture.name];
    test(`${fixture.name}: ${fixture.about}`, { skip }, async () => {
      const outcomes = await run(worker, fixture);
      for (const [i, outcome] of outcomes.entries()) {
        const { reply, report, background } = fixture.expected[i];
        const read = (json) => (json === "" ? "" : JSON.parse(json));
        const whole = withoutUnseen(read(report), outcome.report);
        const expected = { reply, report: whole, background: read(background), unasked: "", more: [] };
        assert.deepEqual(outcome, expected, `exchange ${i + 1}`);
      }
    });
  }
});

// A report without what nobody at the edge sees of a reply's body: the platform moves the bytes of streams.
function withoutUnseen(report, seen) {
  const { body, body_bytes, timeline, ...rest } = report;
  if (seen.body === undefined) return { ...rest, timeline: timeline.filter(({ event }) => event !== "end") };
  if (seen.body_bytes === undefined) return { ...rest, timeline, body };
  return report;
}

test("how many fixtures run", (t) => {
  const reasons = Map.groupBy(fixtures, ({ name, core_only }) => core_only ?? AT_THE_EDGE[name]);
  for (const [reason, group] of reasons) {
    t.diagnostic(reason === undefined ? `${group.length} run` : `${group.length} skipped: ${reason}`);
  }
});
