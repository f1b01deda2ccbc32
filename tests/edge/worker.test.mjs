// What the edge shell does beyond the fixtures: streams, stores, counters, policies, other protocols, and failures of its own.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { request } from "node:http";
import { PassThrough } from "node:stream";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { send } from "./client.mjs";
import { startWorker } from "./harness.mjs";
import { startOrigin } from "./origin.mjs";

let worker;
let origin;
let seen = [];
// What the origin does with a path; a test sets its own.
const paths = {};

before(async () => {
  origin = await startOrigin((request, response) => {
    const { pathname } = new URL(request.url, "http://origin");
    seen.push(pathname);
    if (paths[pathname]) paths[pathname](request, response);
    else response.end(`hello from ${request.url}`);
  });
  worker = await startWorker();
});

after(async () => {
  await worker?.close();
  await origin?.close();
});

// A policy with one route to the origin, and whatever else a test needs.
function policy({ route = "", more = "", url = origin.url } = {}) {
  return `${more}\n[origins.a]\nurl = "${url}"\n[pools.main]\norigins = ["a"]\n[[routes]]\nname = "all"\npool = "main"\n${route}\n`;
}

const CACHING = { route: 'cache = "c"', more: '[cache.c]\nmode = "respect"\nbody_bytes_max = "100KiB"' };
const LIMITED = { route: 'limits = ["l"]', more: '[limits.l]\nquota = "2/min"\nkey = ["ip"]' };

const get = (path, options) => send(worker.url, path, options);

async function bytes(response) {
  const chunks = [];
  for await (const chunk of response.chunks) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

// The reports among the logged lines.
async function reports() {
  return (await worker.log()).filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

test("a request goes to the origin and its answer back", async () => {
  await worker.begin(policy());
  const response = await get("/a/b?c=%20d");
  assert.equal(response.status, 200);
  assert.equal(await response.text(), "hello from /a/b?c=%20d");
  assert.equal(response.header("via"), "1.1 tidegate");
  assert.equal((await reports())[0].route, "all");
});

test("every Set-Cookie line, redirects and field bytes survive", async () => {
  await worker.begin(policy());
  const cookies = ["a=1; Path=/", "b=2; Expires=Wed, 21 Oct 2037 07:28:00 GMT"];
  paths["/fields"] = (_, response) => {
    response.writeHead(302, { location: "/elsewhere", "set-cookie": cookies, "x-utf8": "caf\u00c3\u00a9" });
    response.end();
  };
  const response = await get("/fields");
  assert.equal(response.status, 302);
  assert.equal(response.header("location"), "/elsewhere");
  assert.deepEqual(response.all("set-cookie"), cookies);
  assert.equal(response.header("x-utf8"), "caf\u00c3\u00a9");
});

test("answers stream chunk by chunk, also while they are stored", async () => {
  await worker.begin(policy(CACHING));
  let release;
  paths["/stream"] = async (_, response) => {
    response.writeHead(200, { "cache-control": "max-age=60" });
    response.write("first");
    await new Promise((resolve) => (release = resolve));
    response.end("second");
  };
  const { chunks } = await get("/stream");
  assert.equal(String((await chunks.next()).value), "first");
  release();
  assert.equal(String((await chunks.next()).value), "second");
  await worker.log();
  const again = await get("/stream");
  assert.equal(await again.text(), "firstsecond");
  assert.match(again.header("cache-status"), /hit/);
});

test("an origin that is late is overtaken and let go", async () => {
  const late = await startOrigin((request) => request.once("close", () => (late.isLetGo = true)));
  const more = `[origins.late]\nurl = "${late.url}"\n[pools.both]\norigins = ["late", "a"]\n[retry.r]\nhedge_after = "200ms"`;
  try {
    await worker.begin(policy({ more, route: 'retry = "r"' }).replace('pool = "main"', 'pool = "both"'));
    const response = await get("/", { headers: { "x-test-fetches": JSON.stringify([{ hangs: true }, {}]) } });
    assert.equal(await response.text(), "hello from /");
    await until(() => late.isLetGo);
    const [{ attempts, duration_ms }] = await reports();
    assert.deepEqual(attempts.map(({ number, outcome }) => [number, outcome]), [[2, "response"], [1, "outrun"]]);
    assert.equal(duration_ms, 200);
  } finally {
    await late.close();
  }
});

test("when both attempts fail, both are told and the request is refused", async () => {
  let endLate;
  const late = await startOrigin((request) => (endLate = () => request.socket.destroy()));
  paths["/broken"] = (request) => {
    request.socket.destroy();
    endLate();
  };
  const more = `[origins.late]\nurl = "${late.url}"\n[pools.both]\norigins = ["late", "a"]\n[retry.r]\nhedge_after = "200ms"`;
  try {
    await worker.begin(policy({ more, route: 'retry = "r"' }).replace('pool = "main"', 'pool = "both"'));
    const response = await get("/broken", { headers: { "x-test-fetches": JSON.stringify([{ hangs: true }, {}]) } });
    assert.equal(response.status, 502);
    assert.equal(JSON.parse(await response.text()).reason, "origin_failed");
    const [{ attempts }] = await reports();
    assert.deepEqual(attempts.map(({ number, outcome }) => `${number} ${outcome}`).sort(), ["1 closed", "2 closed"]);
  } finally {
    await late.close();
  }
});

test("a slot of concurrency is held until the body has ended", async () => {
  const more = '[limits.one]\nkind = "concurrency"\nquota = "1"\nkey = ["ip"]';
  await worker.begin(policy({ more, route: 'limits = ["one"]' }));
  let end;
  paths["/held"] = (_, response) => {
    response.write("half");
    end = () => response.end("half");
  };
  const held = await get("/held");
  assert.equal(held.header("ratelimit"), '"one";r=0');
  const refused = await get("/");
  assert.equal(refused.status, 429);
  assert.equal(refused.header("retry-after"), "1");
  end();
  assert.equal(await held.text(), "halfhalf");
  // What is done after an answer has ended then.
  await worker.log();
  for (let at = 0; at < 3; at++) {
    assert.equal(await (await get("/")).text(), "hello from /");
    await worker.log();
  }
});

test("a body that breaks off is a failure of its origin, and one that nobody reads to its end is not", async () => {
  const more = '[breakers.b]\nminimum_calls = 2\nwindow = "4 calls"\nfailure_rate = 100';
  for (const announced of [true, false]) {
    await worker.begin(policy({ more, route: 'breaker = "b"' }));
    paths["/whole"] = (_, response) => response.end("whole");
    paths["/cut"] = (_, response) => {
      response.writeHead(200, announced ? { "content-length": "1000" } : {});
      response.write("abc", () => setTimeout(() => response.destroy(), 20));
    };
    assert.equal(await (await get("/whole")).text(), "whole");
    const records = [];
    for (let i = 0; i < 2; i++) {
      await get("/cut").then(bytes).catch(() => {});
      records.push(...(await reports()));
    }
    assert.deepEqual(records.map(({ attempts }) => attempts[0].outcome), ["response", "body_broken", "body_broken"]);
    // A reply that was cut is not recorded as a whole one.
    assert.deepEqual(records.map(({ body }) => body), ["whole", "broken", "broken"]);
  }
});

test("an answer that is passed on because nothing is left to try is watched like any other", async () => {
  await worker.begin(policy({ more: "[retry.r]\nattempts = 2", route: 'retry = "r"' }));
  paths["/busy"] = (_, response) => {
    response.writeHead(503, { "retry-after": "3600", "content-length": "1000" });
    response.write("abc", () => setTimeout(() => response.destroy(), 20));
  };
  await get("/busy").then(bytes).catch(() => {});
  const [{ status, body, attempts }] = await reports();
  assert.deepEqual([status, body, attempts.map(({ outcome }) => outcome)], [503, "broken", ["body_broken"]]);
});

test("request bodies stream, and keep their length where they have one", async () => {
  await worker.begin(policy());
  paths["/echo"] = (request, response) => {
    response.writeHead(200, { "x-length": request.headers["content-length"] ?? "chunked" });
    request.pipe(response);
  };
  const body = new PassThrough();
  const pending = get("/echo", { method: "POST", body });
  body.write("one");
  const response = await pending;
  assert.equal(response.header("x-length"), "chunked");
  assert.equal(String((await response.chunks.next()).value), "one");
  body.end("two");
  assert.equal(String((await response.chunks.next()).value), "two");
  const sized = await get("/echo", { method: "PUT", body: "12345" });
  assert.equal(sized.header("x-length"), "5");
  assert.equal(await sized.text(), "12345");
});

test("a streamed body beyond the bound is a 413, and says nothing about the origin", async () => {
  const more = '[server]\nbody_bytes_max = "1KiB"\n[breakers.b]\nminimum_calls = 1\nwindow = "1 calls"';
  await worker.begin(policy({ more, route: 'breaker = "b"' }));
  paths["/sink"] = (request, response) => request.resume().on("end", () => response.end());
  const body = new PassThrough();
  body.end(Buffer.alloc(5000));
  assert.equal((await get("/sink", { method: "POST", body })).status, 413);
  const [{ attempts }] = await reports();
  assert.deepEqual(attempts.map(({ outcome, circuit }) => ({ outcome, circuit })), [{ outcome: "request_body", circuit: undefined }]);
  assert.equal((await get("/")).status, 200);
});

// [9111-5.2.2.6-1]
test("encoded bodies stay as they are, from the origin and from the store", async () => {
  await worker.begin(policy(CACHING));
  const encoded = gzipSync("hello ".repeat(100));
  paths["/gzip"] = (_, response) => {
    response.writeHead(200, { "content-encoding": "gzip", "content-length": encoded.length, "cache-control": "max-age=60" });
    response.end(encoded);
  };
  for (const from of [/stored/, /hit/]) {
    const response = await get("/gzip", { headers: { "accept-encoding": "gzip" } });
    assert.match(response.header("cache-status"), from);
    assert.equal(response.header("content-encoding"), "gzip");
    assert.deepEqual(await bytes(response), encoded);
    await worker.log();
  }
});

test("a body that breaks off, or is longer than allowed, is not stored", async () => {
  await worker.begin(policy(CACHING));
  const head = { "cache-control": "max-age=60" };
  paths["/cut-sized"] = (_, response) => {
    response.writeHead(200, { ...head, "content-length": 10 });
    response.write("12345", () => setTimeout(() => response.destroy(), 50));
  };
  paths["/cut-chunked"] = (_, response) => {
    response.writeHead(200, head);
    response.write("12345", () => setTimeout(() => response.destroy(), 50));
  };
  paths["/long"] = (_, response) => {
    response.writeHead(200, head);
    response.write(Buffer.alloc(60_000));
    response.end(Buffer.alloc(60_000));
  };
  for (const path of ["/cut-sized", "/cut-chunked", "/long"]) {
    const first = await get(path);
    const read = await bytes(first).catch(() => null);
    assert.equal(read?.length ?? 0, path === "/long" ? 120_000 : 0, path);
    assert.ok((await worker.log()).some((line) => line.startsWith("not stored")), path);
    const second = await get(path);
    await bytes(second).catch(() => null);
    assert.doesNotMatch(second.header("cache-status") ?? "", /hit/, path);
    await worker.log();
  }
});

test("variants are refreshed one by one, and one whose body is gone is fetched anew", async () => {
  await worker.begin(policy(CACHING));
  paths["/languages"] = (request, response) => {
    const language = request.headers["accept-language"];
    const head = { "cache-control": "max-age=60", vary: "accept-language", etag: `"${language}"` };
    const known = request.headers["if-none-match"] === head.etag;
    response.writeHead(known ? 304 : 200, head);
    response.end(known ? undefined : `in ${language}`);
  };
  const ask = async (language, now) => {
    const response = await get("/languages", { headers: { "accept-language": language, "x-test-now": String(now) } });
    const text = await response.text();
    assert.equal(text, `in ${language}`);
    return (await reports())[0].cache.outcome;
  };
  assert.equal(await ask("de", 1_000), "miss");
  assert.equal(await ask("en", 2_000), "vary_miss");
  assert.equal(await ask("fr", 2_000), "vary_miss");
  assert.equal(await ask("de", 60_000), "hit");
  assert.equal(await ask("de", 61_500), "revalidated");
  assert.equal(await ask("de", 63_000), "hit");
  assert.equal(await ask("en", 61_000), "revalidated");
  await get("/.test/evict");
  assert.equal(await ask("de", 64_000), "vary_miss");
  assert.equal(await ask("de", 64_000), "hit");
});

test("requests for one response wait for one fetch", async () => {
  await worker.begin(policy(CACHING));
  let release;
  paths["/popular"] = async (_, response) => {
    await new Promise((resolve) => (release = resolve));
    response.writeHead(200, { "cache-control": "max-age=60" });
    response.end("popular");
  };
  seen = [];
  const all = [get("/popular"), get("/popular"), get("/popular")];
  await until(() => release !== undefined);
  await new Promise((resolve) => setTimeout(resolve, 100));
  release();
  const texts = await Promise.all(all.map(async (response) => (await response).text()));
  assert.deepEqual(texts, ["popular", "popular", "popular"]);
  assert.deepEqual(seen, ["/popular"]);
  assert.equal((await reports()).filter((report) => report.cache.collapsed).length, 2);
});

test("a count is one for each key, and survives a failed instance", async () => {
  await worker.begin(policy(LIMITED));
  const charge = async (client, more) => (await get("/", { headers: { "x-test-client": client, ...more } })).status;
  assert.equal(await charge("192.0.2.7"), 200);
  assert.equal(await charge("192.0.2.7", { "x-test-trap": "1" }), 503);
  assert.equal(await charge("192.0.2.7"), 200);
  assert.equal(await charge("192.0.2.7"), 429);
  assert.equal(await charge("192.0.2.8"), 200);
});

test("a refused request uses nothing of a limit that others share, not even for a moment", async () => {
  const more = '[limits.wide]\nquota = "4/min"\nkey = []\n[limits.narrow]\nquota = "1/min"\nkey = ["user"]';
  await worker.begin(policy({ more, route: 'limits = ["wide", "narrow"]' }));
  const ask = async (user) => (await get("/", { headers: { "x-user-id": user } })).status;
  const greedy = Array.from({ length: 30 }, () => ask("greedy"));
  const others = ["a", "b", "c"].map(ask);
  assert.deepEqual(await Promise.all(others), [200, 200, 200]);
  assert.equal((await Promise.all(greedy)).filter((status) => status === 200).length, 1);
  assert.equal(await ask("d"), 429);
});

test("without its counter a limit does what the policy says", async () => {
  for (const [rule, status, outcome] of [["allow", 200, "unavailable_allowed"], ["deny", 503, "unavailable_denied"]]) {
    await worker.begin(policy({ ...LIMITED, more: `${LIMITED.more}\non_store_error = "${rule}"` }));
    for (const [how, time] of [["down", 0], ["hang", 1000]]) {
      assert.equal((await get("/", { headers: { "x-test-limits": how } })).status, status);
      const [report] = await reports();
      assert.equal(report.limits[0].outcome, outcome);
      assert.equal(report.duration_ms, time);
    }
  }
});

test("a spent counter deletes itself", async () => {
  // The alarm goes off by the real clock, a second from now; until the third request this world's clock is that of a minute ago.
  await worker.begin(policy({ ...LIMITED, more: '[limits.l]\nquota = "1/sec"\nkey = []' }));
  const past = Date.now() - 60_000;
  assert.equal((await get("/", { headers: { "x-test-now": String(past) } })).status, 200);
  assert.equal((await get("/", { headers: { "x-test-now": String(past + 1) } })).status, 429);
  await get("/", { headers: { "x-test-now": String(Date.now()), "x-test-limits": "down" } });
  let lines = [];
  for (let i = 0; i < 60 && !lines.includes("alarm: 0 tables"); i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    lines = lines.concat(await worker.log());
  }
  assert.ok(lines.includes("alarm: 0 tables"));
});

test("the policy in KV replaces the current one within a minute, unless it is wrong", async () => {
  const limited = policy(LIMITED);
  await worker.begin(limited);
  const at = (time) => get("/", { headers: { "x-test-now": String(time) } });
  assert.notEqual((await at(1_000)).header("ratelimit-policy"), null);
  await worker.putPolicy(policy());
  assert.notEqual((await at(59_000)).header("ratelimit-policy"), null);
  await at(61_000);
  await worker.log();
  assert.equal((await at(61_001)).header("ratelimit-policy"), null);
  await worker.putText(policy());
  await at(122_000);
  const lines = await worker.log();
  assert.ok(lines.some((line) => line.includes("the policy in KV is wrong") && line.includes("tidegate check --compile")), lines.join("\n"));
  assert.equal((await at(122_001)).status, 200);
});

test("an isolate that begins with a wrong policy follows the last good one, or refuses", async () => {
  const wrong = policy();
  const refused = async (headers = {}) => {
    seen = [];
    const response = await get("/api/x", { headers });
    assert.deepEqual([response.status, response.header("content-type"), response.header("cache-control"), seen], [503, "application/problem+json", "no-store", []]);
    return (await worker.log()).join("\n");
  };
  await worker.forgetGoodPolicy();
  await worker.beginWith(wrong);
  assert.match(await refused(), /this is not a compiled policy; write what `tidegate check --compile FILE` makes/);
  await worker.begin(policy(LIMITED));
  assert.equal((await get("/")).status, 200);
  await worker.log();
  await worker.beginWith(wrong, { "x-test-kv": "down" });
  assert.notEqual((await get("/")).header("ratelimit-policy"), null);
  assert.match((await worker.log()).join("\n"), /the policy in KV is wrong/);
  // A good one that comes later counts, and is the last good one from then on.
  const at = (time) => get("/", { headers: { "x-test-now": String(time) } });
  await worker.putPolicy(policy());
  await at(61_000);
  await worker.log();
  assert.equal((await at(61_001)).header("ratelimit-policy"), null);
  await worker.beginWith(wrong);
  assert.deepEqual([(await get("/")).status, (await get("/")).header("ratelimit-policy")], [200, null]);
});

test("while KV cannot be read an isolate that begins refuses, and one that has a policy keeps it", async () => {
  for (const how of ["down", "hang"]) {
    await worker.begin(policy(), { "x-test-kv": "down" });
    seen = [];
    const response = await get("/api/x", { headers: { "x-test-kv": how } });
    assert.deepEqual([response.status, response.header("content-type"), seen], [503, "application/problem+json", []], how);
    assert.equal((await get("/")).status, 200);
    const later = (time) => get("/", { headers: { "x-test-kv": how, "x-test-now": String(time) } });
    assert.deepEqual([(await later(61_000)).status, (await later(122_000)).status], [200, 200]);
    await worker.log();
  }
});

test("without a policy in KV the one that is compiled in decides", async () => {
  await worker.begin(null);
  // Whether something answers at its origins' addresses is not the question.
  await (await get("/api/x")).text();
  const [report] = await reports();
  assert.equal(report.route, "api");
  assert.deepEqual(report.origins, ["eu", "us"]);
});

test("a client that stops sending is told apart from an origin that fails", async () => {
  const more = '[breakers.b]\nminimum_calls = 1\nwindow = "1 calls"';
  await worker.begin(policy({ more, route: 'breaker = "b"' }));
  let begun = false;
  let cut = false;
  paths["/upload"] = (request) => {
    request.on("data", () => (begun = true)).on("error", () => (cut = true));
  };
  const upload = request(worker.url + "upload", { method: "POST", agent: false });
  upload.on("error", () => {});
  upload.write("some");
  await until(() => begun);
  upload.destroy();
  await until(() => cut);
  assert.equal((await get("/")).status, 200);
});

test("a body that is still on its way when the first origin fails reaches the next one whole", async () => {
  const twice = `[origins.gone]\nurl = "http://127.0.0.1:1"\n[origins.a]\nurl = "${origin.url}"\n[pools.main]\norigins = ["gone", "a"]\n`;
  await worker.begin(`${twice}[retry.r]\nattempts = 2\nbackoff = "1ms"\n[[routes]]\nname = "all"\npool = "main"\nretry = "r"\n`);
  paths["/upload"] = (request, response) => request.pipe(response);
  const upload = request(worker.url + "upload", { method: "PUT", agent: false });
  upload.flushHeaders();
  // Nothing of the body is there until the second origin has been asked.
  seen = [];
  await until(() => seen.includes("/upload"));
  upload.write("some");
  upload.end("thing");
  const [response] = await once(upload, "response");
  assert.equal(Buffer.concat(await response.toArray()).toString(), "something");
  const [{ attempts }] = await reports();
  assert.deepEqual(attempts.map(({ origin, outcome }) => [origin, outcome]), [["gone", "closed"], ["a", "response"]]);
});

test("a client that stops in the middle of its body is not the origin's fault", async () => {
  await worker.begin(policy());
  paths["/upload"] = (request) => request.resume();
  const upload = request(worker.url + "upload", { method: "POST", agent: false, headers: { "x-test-fetches": '[{"hangs":true}]' } });
  upload.on("error", () => {});
  upload.write("some");
  const [response] = await once(upload, "response");
  upload.destroy();
  assert.equal(response.statusCode, 408);
  const [report] = await reports();
  assert.deepEqual([report.refusal, report.attempts[0].outcome], ["body_too_slow", "request_body"]);
});

test("a timeout closes the connection to the origin", async () => {
  await worker.begin(policy());
  let closed = false;
  paths["/never"] = (request) => request.socket.on("close", () => (closed = true));
  const response = await get("/never", { headers: { "x-test-fetches": '[{"hangs":true}]' } });
  assert.equal(response.status, 504);
  await until(() => closed);
  assert.equal((await reports())[0].duration_ms, 30_000);
});

test("a WebSocket passes through", async () => {
  await worker.begin(policy());
  origin.server.on("upgrade", (request, socket) => {
    const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    // One short masked text frame comes; it goes back unmasked.
    socket.once("data", (frame) => {
      const length = frame[1] & 0x7f;
      const text = frame.subarray(6, 6 + length).map((byte, i) => byte ^ frame[2 + (i % 4)]);
      socket.write(Buffer.concat([Buffer.from([0x81, length]), text]));
    });
    socket.on("error", () => {});
  });
  const socket = new WebSocket(worker.url.replace("http", "ws"));
  const answer = await new Promise((resolve, reject) => {
    socket.onopen = () => socket.send("tide");
    socket.onmessage = ({ data }) => resolve(data);
    socket.onerror = ({ error }) => reject(error ?? new Error("the handshake failed"));
  });
  assert.equal(answer, "tide");
  socket.close();
  const [report] = await reports();
  assert.equal(report.status, 101);
});

test("a failure of the Worker is a 503, for this request alone, and the next one is served", async () => {
  await worker.begin(policy());
  const response = await get("/", { headers: { "x-test-trap": "1" } });
  assert.equal(response.status, 503);
  assert.equal(response.header("content-type"), "application/problem+json");
  assert.equal(
    await response.text(),
    '{"type":"about:blank","title":"Unavailable","status":503,"detail":"The request could not be handled.","reason":"internal"}',
  );
  for (let i = 0; i < 3; i++) assert.equal(await (await get("/ok")).text(), "hello from /ok");
});

test("what an origin may not answer ends as a problem, also where requests are passed on unchecked", async () => {
  const open = `${LIMITED.more}\n[edge]\non_failure = "open"`;
  for (const [at, status] of [600, 700, 999].entries()) {
    paths[`/status-${at}`] = (request) => request.socket.end(`HTTP/1.1 ${status} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok`);
    for (const more of ["", open]) {
      await worker.begin(policy({ more }));
      const response = await get(`/status-${at}`);
      assert.deepEqual([response.status, response.header("content-type")], [502, "application/problem+json"], `${status} ${more}`);
    }
    const failed = await get(`/status-${at}`, { headers: { "x-test-trap": "1" } });
    assert.deepEqual([failed.status, failed.header("content-type")], [503, "application/problem+json"], status);
  }
});

test("requests in flight when the instance fails are answered at once", async () => {
  await worker.begin(policy());
  const held = [];
  paths["/hold"] = (_, response) => held.push(() => response.end("released"));
  const flights = [get("/hold"), get("/hold"), get("/hold")];
  await until(() => held.length === 3);
  assert.equal((await get("/", { headers: { "x-test-trap": "1" } })).status, 503);
  const statuses = (await Promise.all(flights)).map((response) => response.status);
  assert.deepEqual(statuses, [503, 503, 503]);
  for (const release of held) release();
  for (let i = 0; i < 5; i++) assert.equal(await (await get("/ok")).text(), "hello from /ok");
});

test("a policy that fails open sends the request to the origin unchecked", async () => {
  await worker.begin(policy({ ...LIMITED, more: `${LIMITED.more}\n[edge]\non_failure = "open"` }));
  paths["/open"] = (request, response) => response.end("unchecked");
  // The origin may have seen it already.
  assert.equal((await get("/open", { method: "POST", body: "x", headers: { "x-test-trap": "1" } })).status, 503);
  const response = await get("/open", { headers: { "x-test-trap": "1" } });
  assert.equal(response.status, 200);
  assert.equal(await response.text(), "unchecked");
  assert.equal(response.header("ratelimit"), null);
  assert.notEqual((await get("/")).header("ratelimit"), null);
});
