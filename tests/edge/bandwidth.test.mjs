// Limits of bandwidth at the edge: replies in virtual time, which each wait moves; what clients send in real time, because the virtual clock stands
// still while an origin is waited for.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import { send } from "./client.mjs";
import { startWorker } from "./harness.mjs";
import { startOrigin } from "./origin.mjs";

const { compile } = createRequire(import.meta.url)("../../core/js/pkg/tidegate_js.js");

// A policy that paces whatever goes in a direction; what is under /cached/ is stored.
function policy(origin, { quota, burst, direction = "response", timeout = "10s" }) {
  return `
[limits.all]
kind = "bandwidth"
quota = "${quota}"
burst = "${burst}"
direction = "${direction}"
key = []
[origins.a]
url = "${origin.url}"
response_timeout = "${timeout}"
[pools.main]
origins = ["a"]
[cache.minute]
mode = "override"
ttl = "1d"
[[routes]]
path_prefix = "/cached/"
pool = "main"
cache = "minute"
limits = ["all"]
[[routes]]
pool = "main"
limits = ["all"]
`;
}

const page = Buffer.alloc(50_000, "0123456789");

describe("replies", () => {
  let worker;
  let origin;
  before(async () => {
    origin = await startOrigin((request, response) => {
      if (request.url === "/broken") {
        response.writeHead(200, { "content-length": 99_999 });
        response.write(page.subarray(0, 1000), () => setTimeout(() => response.destroy(), 20));
      } else {
        if (request.url === "/chunks") response.write(page.subarray(0, 1));
        response.end(request.url === "/chunks" ? page.subarray(1) : page);
      }
    });
    worker = await startWorker();
  });
  after(async () => {
    await worker?.close();
    await origin?.close();
  });

  const get = (path, headers) => send(worker.url, path, { headers });

  async function report() {
    const lines = (await worker.log()).filter((line) => line.startsWith("{"));
    return JSON.parse(lines.at(-1));
  }

  test("go at their pace, wherever they come from", async () => {
    await worker.begin(policy(origin, { quota: "10KB/sec", burst: "20KB" }));
    for (const [path, headers, bytes, waited] of [
      ["/cached/a", {}, page, 3000],
      ["/cached/a", {}, page, 5000],
      ["/cached/a", { range: "bytes=10000-29999" }, page.subarray(10_000, 30_000), 2000],
      ["/plain", {}, page, 5000],
      ["/chunks", {}, page, 5000],
    ]) {
      const response = await get(path, headers);
      assert.equal(response.header("content-length"), path === "/chunks" ? null : String(bytes.length));
      assert.equal(await response.text(), String(bytes));
      const { bandwidth, duration_ms, body, body_bytes } = await report();
      assert.deepEqual(bandwidth, [{ name: "all", direction: "response", paced_ms: waited }]);
      assert.deepEqual([duration_ms, body, body_bytes], [waited, "whole", bytes.length], path);
    }
  });

  test("that need no wait are as they are otherwise", async () => {
    await worker.begin(policy(origin, { quota: "1GB/sec", burst: "1GB" }));
    const response = await get("/plain");
    assert.equal(await response.text(), String(page));
    assert.deepEqual((await report()).bandwidth, [{ name: "all", direction: "response", paced_ms: 0 }]);
    const head = await send(worker.url, "/plain", { method: "HEAD" });
    assert.equal(head.status, 200);
    assert.equal(await head.text(), "");
  });

  test("that break off are not taken for whole ones", async () => {
    await worker.begin(policy(origin, { quota: "10KB/sec", burst: "1MB" }));
    const response = await get("/broken");
    await assert.rejects(response.text());
    const { body, attempts } = await report();
    assert.equal(body, "broken");
    assert.equal(attempts[0].outcome, "body_broken");
  });
});

// Starts a Worker in real time, under a policy.
async function startUnder(text) {
  const worker = await startWorker({ realTime: true });
  const policies = await worker.miniflare.getKVNamespace("POLICY");
  await policies.put("policy", compile(text));
  return worker;
}

test("a reply that nobody reads any more lets its origin go when the next pieces go", async () => {
  let isLeft = false;
  const origin = await startOrigin((_, response) => {
    response.on("close", () => (isLeft = true));
    const more = () => response.destroyed || response.write(page, more);
    more();
  });
  const worker = await startUnder(policy(origin, { quota: "1KiB/sec", burst: "256B" }));
  try {
    const response = await send(worker.url, "/");
    assert.equal((await response.chunks.next()).value.length, 256);
    assert.equal(isLeft, false);
    await response.chunks.return();
    while (!isLeft) await new Promise((resolve) => setTimeout(resolve, 5));
  } finally {
    await worker.close();
    await origin.close();
  }
});

test("what clients send goes on piece by piece at its pace, and its origin is not late therefore", async () => {
  const taken = [];
  const origin = await startOrigin((request, response) => {
    request.on("data", (piece) => taken.push(piece.length));
    request.on("end", () => response.end("taken"));
  });
  // Each piece of 256 bytes waits for longer than the origin's answer may take.
  const uploads = { quota: "1KiB/sec", burst: "1B", direction: "request", timeout: "100ms" };
  const worker = await startUnder(policy(origin, uploads));
  try {
    const since = performance.now();
    const response = await send(worker.url, "/", { method: "POST", body: Buffer.alloc(1024) });
    assert.deepEqual([response.status, await response.text()], [200, "taken"]);
    assert.equal(taken.reduce((sum, bytes) => sum + bytes), 1024);
    assert.ok(taken.length >= 4, `${taken}`);
    // It cannot have been faster; how much slower this machine is does not matter.
    assert.ok(performance.now() - since >= 990);
  } finally {
    await worker.close();
    await origin.close();
  }
});
