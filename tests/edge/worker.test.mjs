// What the Worker's surroundings must do for it: streams, clocks, stores, and a fresh instance after a failure.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PassThrough } from "node:stream";
import { send } from "./client.mjs";
import { gunzipSync, gzipSync } from "node:zlib";
import { startWorker } from "./harness.mjs";
import { startOrigin } from "./origin.mjs";

let worker;
let origin;
let seen = [];

const routes = {
  "/cookies": (request, response) => {
    response.setHeader("set-cookie", ["a=1; Path=/", "b=2; Expires=Wed, 21 Oct 2037 07:28:00 GMT"]);
    response.end("cookies");
  },
  "/slow": (request, response) => {
    response.setHeader("x-test-elapsed", "250");
    response.end("slow");
  },
  "/latin": (request, response) => {
    response.writeHead(200, { "x-utf8": "caf\u00c3\u00a9" });
    response.end("latin");
  },
  "/stream": async (request, response) => {
    response.writeHead(200, { "content-type": "text/plain" });
    response.write("first");
    await new Promise((resolve) => (routes.release = resolve));
    response.end("second");
  },
  "/echo": (request, response) => {
    response.writeHead(200, { "x-length": request.headers["content-length"] ?? "chunked" });
    request.pipe(response);
  },
  "/gzip": (request, response) => {
    const body = gzipSync("hello ".repeat(100));
    response.writeHead(200, { "content-encoding": "gzip", "content-type": "text/plain", "content-length": body.length });
    response.end(body);
  },
  "/hold": (request, response) => {
    (routes.held ??= []).push(() => response.end("released"));
  },
  "/moved": (request, response) => {
    response.writeHead(302, { location: "/elsewhere" });
    response.end();
  },
};

before(async () => {
  origin = await startOrigin((request, response) => {
    const path = new URL(request.url, "http://origin").pathname;
    seen.push(`${request.method} ${request.url}`);
    if (path.startsWith("/cached/")) {
      response.setHeader("cache-control", "max-age=60");
      response.end(`answer ${seen.length}`);
    } else if (routes[path]) routes[path](request, response);
    else response.end(`hello from ${request.url}`);
  });
  worker = await startWorker({ ORIGIN: origin.url });
});

after(async () => {
  await worker?.close();
  await origin?.close();
});

const get = (path, options) => send(worker.url, path, options);

test("passes a request on and the answer back", async () => {
  const response = await get("/a/b?c=%20d");
  assert.equal(response.status, 200);
  assert.equal(await response.text(), "hello from /a/b?c=%20d");
  assert.equal(response.header("via"), "1.1 tidegate");
  assert.deepEqual(JSON.parse(await (await get("/.test/log")).text()), ['{"status":200}']);
});

test("keeps every Set-Cookie line", async () => {
  const response = await get("/cookies");
  assert.deepEqual(response.all("set-cookie"), ["a=1; Path=/", "b=2; Expires=Wed, 21 Oct 2037 07:28:00 GMT"]);
});

test("does not follow redirects", async () => {
  const response = await get("/moved");
  assert.equal(response.status, 302);
  assert.equal(response.header("location"), "/elsewhere");
});

test("streams an answer chunk by chunk", async () => {
  const { chunks } = await get("/stream");
  assert.equal(String((await chunks.next()).value), "first");
  routes.release();
  assert.equal(String((await chunks.next()).value), "second");
});

test("streams a request body", async () => {
  const body = new PassThrough();
  const pending = get("/echo", { method: "POST", body });
  body.write("one");
  const response = await pending;
  assert.equal(response.header("x-length"), "chunked");
  assert.equal(String((await response.chunks.next()).value), "one");
  body.end("two");
  assert.equal(String((await response.chunks.next()).value), "two");
});

test("keeps the length of a body that has one", async () => {
  const response = await get("/echo", { method: "PUT", body: "12345" });
  assert.equal(response.header("x-length"), "5");
  assert.equal(await response.text(), "12345");
});

test("virtual time is what the Worker and its Durable Objects see", async () => {
  assert.equal(await (await get("/now", { headers: { "x-test-now": "1700000000123" } })).text(), "1700000000123");
  const count = await get("/count", { headers: { "x-test-now": "1700000000999", "x-test-client": "192.0.2.1" } });
  assert.equal(await count.text(), "1 1700000000999");
  const slow = await get("/slow", { headers: { "x-test-now": "5000" } });
  assert.equal(slow.header("x-test-elapsed"), null);
  assert.equal(await (await get("/now")).text(), "5250");
});

test("a counter is one for each key", async () => {
  const charge = async (client) => (await (await get("/count", { headers: { "x-test-client": client } })).text()).split(" ")[0];
  assert.equal(await charge("192.0.2.7"), "1");
  assert.equal(await charge("192.0.2.7"), "2");
  assert.equal(await charge("192.0.2.8"), "1");
});

test("stores under its own key and answers from there", async () => {
  const first = await (await get("/cached/x")).text();
  let second = await get("/cached/x");
  assert.equal(await second.text(), first);
  assert.equal(second.header("cache-status"), "tidegate; hit");
});

test("reads the policy from KV", async () => {
  assert.equal(await (await get("/policy")).text(), "none");
  const kv = await worker.miniflare.getKVNamespace("POLICY");
  await kv.put("policy", "version = 1");
});

test("knows the client's country", async () => {
  assert.equal(await (await get("/cf", { headers: { "x-test-cf": JSON.stringify({ country: "NZ" }) } })).text(), "NZ");
  assert.equal(await (await get("/cf")).text(), "");
});

test("a panic is a 500, for this request alone, and the next one is served", async () => {
  for (const path of ["/panic", "/later-panic"]) {
    const response = await get(path, {});
    assert.equal(response.status, 500);
    assert.equal(response.header("content-type"), "application/problem+json");
    assert.equal(await (await get("/ok")).text(), "hello from /ok");
  }
  assert.equal(await (await get("/count", { headers: { "x-test-client": "192.0.2.8" } })).text().then((t) => t.split(" ")[0]), "2");
});

test("a trap is a 500 too", async () => {
  const response = await get("/now", { headers: { "x-test-trap": "1" } });
  assert.equal(response.status, 500);
  assert.equal(await (await get("/ok")).text(), "hello from /ok");
});

test("requests in flight when the instance fails are answered at once", async () => {
  const flights = [get("/hold"), get("/hold"), get("/hold")];
  while ((routes.held?.length ?? 0) < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal((await get("/panic")).status, 500);
  const statuses = (await Promise.all(flights)).map((response) => response.status);
  assert.deepEqual(statuses, [500, 500, 500]);
  for (const release of routes.held) release();
  for (let i = 0; i < 5; i++) assert.equal(await (await get("/ok")).text(), "hello from /ok");
});

test("field bytes survive", async () => {
  const response = await get("/latin");
  assert.equal(response.header("x-utf8"), "caf\u00c3\u00a9");
});

test("an encoded body stays as it is", async () => {
  const response = await get("/gzip", { headers: { "accept-encoding": "gzip" } });
  const body = [];
  for await (const chunk of response.chunks) body.push(chunk);
  assert.equal(gunzipSync(Buffer.concat(body)).toString(), "hello ".repeat(100));
});
