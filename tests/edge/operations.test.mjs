// What operators do at the Worker's own address, and how a purge reaches every isolate.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { send } from "./client.mjs";
import { startWorker } from "./harness.mjs";
import { startOrigin } from "./origin.mjs";

let worker;
let origin;
let asked = 0;

const FIELDS = { "cache-control": "max-age=600", "cache-tag": "Shop, home", etag: '"a"' };

before(async () => {
  origin = await startOrigin((request, response) => {
    asked++;
    if (request.headers["if-none-match"] === '"a"') response.writeHead(304, FIELDS).end();
    else if (request.url === "/private") response.writeHead(200, { "cache-control": "private" }).end("for one");
    else if (request.url === "/large") {
      // In chunks, so that its length shows at the end only.
      response.writeHead(200, FIELDS).write("x".repeat(1000));
      response.end("x".repeat(1000));
    } else response.writeHead(200, FIELDS).end(`hello from ${request.url}`);
  });
  worker = await startWorker();
});

after(async () => {
  await worker?.close();
  await origin?.close();
});

const begin = (more = "", routes = "", profile = "") =>
  worker.begin(
    `[origins.a]\nurl = "${origin.url}"\n[pools.main]\norigins = ["a"]\n[cache.c]\nmode = "respect"\n${profile}${routes}[[routes]]\nname = "all"\npool = "main"\ncache = "c"\n${more}`,
  );

async function cacheStatus(path, headers = {}) {
  const response = await send(worker.url, `/${path}`, { headers });
  await response.text();
  await worker.log();
  return response.header("cache-status");
}

async function fill(path) {
  await cacheStatus(path);
  assert.match(await cacheStatus(path), /; hit/);
}

async function operate(method, path, body, token = "secret") {
  const headers = { authorization: `Bearer ${token}` };
  const response = await send(worker.url, `/performance/cache/${path}`, { method, headers, body: body && JSON.stringify(body) });
  return { status: response.status, text: await response.text() };
}

test("a purge reaches what it names", async () => {
  await begin();
  const host = new URL(worker.url).hostname;
  const orders = [{ urls: [`http://${host}/a?b=1`] }, { prefixes: [`${host}/a`] }, { hosts: [host] }, { tags: ["other", "SHOP"] }, { everything: true }];
  for (const order of orders) {
    await fill("a?b=1");
    assert.equal((await operate("POST", "invalidate", order)).status, 200);
    assert.match(await cacheStatus("a?b=1"), /fwd=uri-miss/, JSON.stringify(order));
  }
  await fill("a?b=1");
  await operate("POST", "invalidate", { urls: [`${host}/a`], tags: ["sho"] });
  assert.match(await cacheStatus("a?b=1"), /; hit/);
  await operate("POST", "invalidate", { tags: ["home"], soft: true });
  assert.match(await cacheStatus("a?b=1"), /fwd=stale; fwd-status=304/);
  await operate("DELETE", "*");
  assert.match(await cacheStatus("a?b=1"), /fwd=uri-miss/);
});

test("operations are for those with the token, and no origin sees it", async () => {
  await begin();
  const before = asked;
  for (const token of ["", "Secret", "secret2"]) {
    const { status, text } = await operate("GET", "stats", undefined, token);
    assert.ok(status === 401 && text.includes("TIDEGATE_ADMIN_TOKEN"), `${status} ${text}`);
  }
  for (const authorization of ["bearer secret", "Bearer  secret", "secret", ["Bearer a", "Bearer secret"], "Basic OnNlY3JldA=="]) {
    for (const path of ["/performance/cache", "//performance/cache/stats", "/shop"]) {
      const response = await send(worker.url, path, { method: "DELETE", headers: { authorization } });
      assert.equal(response.status, 421, `${path} ${authorization}`);
      assert.match(await response.text(), /operators_token/);
    }
  }
  const forwarded = { "x-forwarded-authorization": "Bearer secret" };
  assert.equal((await send(worker.url, "/shop", { headers: forwarded })).status, 421);
  assert.equal(asked, before);
  assert.match((await operate("GET", "stats")).text, /last_purge/);
  const { status, text } = await operate("POST", "invalidate", { urls: ["::"] });
  assert.ok(status === 400 && text.includes("urls[0]"), text);
});

test("guesses are slowed, told without the guess, and hold up nobody else", async () => {
  await begin();
  const stats = (token, client) => send(worker.url, "/performance/cache/stats", { headers: { authorization: `Bearer ${token}`, "x-test-client": client } });
  for (let i = 0; i < 10; i++) assert.equal((await stats("a-guess", "192.0.2.7")).status, 401);
  for (const token of ["a-guess", "secret"]) {
    const response = await stats(token, "192.0.2.7");
    assert.deepEqual([response.status, response.header("retry-after"), response.header("content-type")], [429, "6", "application/problem+json"]);
  }
  assert.equal((await stats("secret", "192.0.2.8")).status, 200);
  const lines = (await worker.log()).filter((line) => line.includes("wrong token"));
  assert.ok(lines.length === 10 && lines.every((line) => line.includes("192.0.2.7") && !line.includes("guess")), lines.join("\n"));
});

test("a purge that the log does not take is a problem", async () => {
  await begin();
  for (const how of ["down", "hang"]) {
    const headers = { authorization: "Bearer secret", "x-test-purges": how };
    const response = await send(worker.url, "/performance/cache/invalidate", { method: "POST", headers, body: '{"everything": true}' });
    assert.deepEqual([response.status, response.header("content-type")], [503, "application/problem+json"], how);
    assert.match(await response.text(), /again/);
  }
});

test("a failure that sends requests to the origin unchecked does not send it the token", async () => {
  await begin('[edge]\non_failure = "open"\n');
  const stats = (token) => send(worker.url, "/performance/cache/stats", { headers: { authorization: `Bearer ${token}`, "x-test-trap": "1" } });
  const before = asked;
  assert.equal((await stats("secret")).status, 503);
  for (const authorization of ["bEARER  secret", "secret", "Basic OnNlY3JldA==", ["Bearer a", "Bearer secret"]]) {
    assert.equal((await send(worker.url, "/a", { headers: { authorization, "x-test-trap": "1" } })).status, 503);
  }
  assert.equal(asked, before);
  const open = await send(worker.url, "/a", { headers: { authorization: "Bearer a user's", "x-test-trap": "1" } });
  assert.deepEqual([open.status, asked], [200, before + 1]);
});

test("the store is warmed", async () => {
  await begin();
  const before = asked;
  const { text } = await operate("POST", "warm", { urls: [`${worker.url}x`, `${worker.url}y`] });
  const { warmed, stored } = JSON.parse(text);
  assert.deepEqual([stored, ...warmed.map(({ status }) => status)], [2, 200, 200]);
  assert.match(await cacheStatus("x"), /; hit/);
  assert.equal(asked, before + 2);
});

test("who warms is told what is not stored and why", async () => {
  const routes = `[[routes]]\npath = "/never"\npool = "main"\ncache = "n"\n[[routes]]\npath = "/none"\npool = "main"\n`;
  await begin('[cache.n]\nmode = "never"\n', routes, "body_bytes_max = \"1KB\"\n");
  const expected = {
    a: "stored",
    private: "not stored: private",
    large: "not stored: body",
    never: "not stored: bypass (profile)",
    none: "not stored: no_profile",
  };
  const urls = Object.keys(expected).map((path) => worker.url + path);
  const answer = JSON.parse((await operate("POST", "warm", { urls })).text);
  assert.deepEqual(answer.warmed.map(({ outcome }) => outcome), Object.values(expected));
  assert.deepEqual([answer.stored, answer.not_stored], [1, 4]);
  const again = JSON.parse((await operate("POST", "warm", { urls: [`${worker.url}a`] })).text);
  assert.deepEqual([again.warmed[0].outcome, again.stored], ["stored before", 1]);
});

test("another isolate's purge counts when the log is asked again", async () => {
  await begin();
  await fill("a");
  // Another isolate is one that tells the log of a purge.
  const { status } = await send(worker.url, "/.test/purge-log", { method: "POST", body: "0\n0 - 0" });
  assert.equal(status, 200);
  assert.match(await cacheStatus("a", { "x-test-now": "1000" }), /; hit/);
  assert.match(await cacheStatus("a", { "x-test-now": "2100" }), /fwd=uri-miss/);
});

test("the log holds the last purge of each label, and who has missed more is told that all was purged", async () => {
  await begin();
  const ask = async (since, make) => {
    const body = [since, ...make.map((label) => `0 ${label} 0`)].join("\n");
    const response = await send(worker.url, "/.test/purge-log", { method: "POST", body });
    return [...(await response.text()).matchAll(/^(\d+) (\S+) 0$/gm)].map(([, number, label]) => `${number} ${label}`);
  };
  const large = "18446744073709551615";
  assert.deepEqual(await ask(0, ["7", large, "7"]), ["1 7", `2 ${large}`, "3 7"], "one answer for each");
  assert.deepEqual(await ask(0, []), [`2 ${large}`, "3 7"]);
  assert.deepEqual(await ask(1, ["7"]), [`2 ${large}`, "3 7", "4 7"], "and what the asker does not know of");
  for (let i = 0; i < 10; i++) await ask(0, Array.from({ length: 1000 }, (_, at) => String(100 + i * 1000 + at)));
  assert.deepEqual((await ask(2, [])).slice(0, 2), ["4 -", "5 100"]);
  assert.deepEqual((await ask(4, [])).slice(0, 1), ["5 100"]);
  assert.equal((await ask(0, ["100"])).at(-1), "10005 100");
  assert.deepEqual((await ask(4, [])).slice(0, 1), ["6 101"]);
  assert.deepEqual(await ask(10_004, ["-"]), ["10005 100", "10006 -"]);
  assert.deepEqual(await ask(10_004, ["9"]), ["10006 -", "10007 9"]);
});

test("without the log of purges nothing stored is used", async () => {
  await begin();
  await fill("a");
  const later = (ms, more = {}) => cacheStatus("a", { "x-test-now": String(ms), ...more });
  assert.match(await later(3000, { "x-test-purges": "down" }), /fwd=bypass; fwd-status=200; detail=store/);
  assert.match(await later(6000, { "x-test-purges": "hang" }), /fwd=bypass; fwd-status=200; detail=store/);
  assert.match(await later(9000), /; hit/);
});

test("what is not set up is said, or is not there", async () => {
  const bareOf = async (bare, run) => {
    const all = worker;
    worker = await startWorker({ bare });
    try {
      await begin();
      await run();
    } finally {
      await worker.close();
      worker = all;
    }
  };
  await bareOf(["log"], async () => {
    await fill("a");
    const { status, text } = await operate("POST", "invalidate", { everything: true });
    assert.ok(status === 503 && text.includes("PURGES"), `${status} ${text}`);
    assert.match(await cacheStatus("a"), /; hit/);
    // A change ends the use of its own URL all the same.
    await (await send(worker.url, "/a", { method: "POST", body: "x" })).text();
    assert.match(await cacheStatus("a"), /fwd=uri-miss/);
  });
  await bareOf(["token"], async () => {
    const { status, text } = await operate("GET", "stats");
    assert.deepEqual([status, text], [200, "hello from /performance/cache/stats"]);
  });
});
