// The vectors of limits, asked of Durable Objects.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { startWorker } from "./harness.mjs";

const lines = readFileSync(new URL("../vectors/limits.txt", import.meta.url), "utf8").trimEnd().split("\n");

test("a Durable Object answers as the vectors say", async () => {
  const worker = await startWorker({ realTime: true });
  try {
    const counters = await worker.miniflare.getDurableObjectNamespace("LIMITS");
    let counter;
    let asked = 0;
    for (const line of lines) {
      const [question, answer] = line.split(" ->");
      if (answer === undefined) {
        counter = counters.get(counters.idFromName(line));
        continue;
      }
      assert.equal(await counter.ask(question), answer, line);
      asked += 1;
    }
    assert.ok(asked > 500, `${asked} questions`);
  } finally {
    await worker.close();
  }
});
