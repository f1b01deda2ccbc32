// Limits by what tokens claim, at the edge: an issuer that changes its keys, fails and hangs, and a secret of the Worker.

import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { after, before, test } from "node:test";
import { send } from "./client.mjs";
import { startWorker } from "./harness.mjs";
import { startOrigin } from "./origin.mjs";

const START = 1_800_000_000_000;
const SECRET = "0123456789abcdef0123456789abcdef";

let worker;
let origin;
let issuer;
// What the issuer answers, and how often it has been asked.
let answer;
let asked = 0;
// An answer that has not been given.
let held;

before(async () => {
  origin = await startOrigin((_, response) => response.end("ok"));
  issuer = await startOrigin((request, response) => {
    asked++;
    assert.equal(request.url, "/jwks?v=1");
    if (answer.hangs) {
      held = response;
      return;
    }
    response.writeHead(answer.status ?? 200, answer.headers ?? {});
    response.end(answer.body ?? "");
  });
  worker = await startWorker({ secrets: { TOKEN_SECRET: SECRET, SHORT: "short" } });
});

after(async () => {
  await worker?.close();
  await issuer?.close();
  await origin?.close();
});

const encode = (json) => Buffer.from(JSON.stringify(json)).toString("base64url");

// A key of an issuer. RSA and P-256 are in the fixtures.
function makeKey(kid) {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return {
    jwk: { ...publicKey.export({ format: "jwk" }), kid },
    token(payload) {
      const input = `${encode({ alg: "EdDSA", kid })}.${encode(payload)}`;
      return `${input}.${sign(null, Buffer.from(input), privateKey).toString("base64url")}`;
    },
  };
}

const set = (...keys) => JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });

function policy(rule) {
  return `[client.token]\n${rule}
[origins.a]\nurl = "${origin.url}"
[pools.main]\norigins = ["a"]
[limits.each]\nquota = "2/min"\nkey = ["claim:sub"]\nabsent = "skip"
[[routes]]\npool = "main"\nlimits = ["each"]\n`;
}

const byUrl = () => policy(`algorithms = ["EdDSA"]\njwks_url = "${issuer.url}/jwks?v=1"`);

// Begins a world in which the issuer has been asked for nothing.
async function begin(text) {
  await worker.begin(text);
  asked = 0;
}

// Asks with a token some seconds after the start. Resolves to the status, what became of the token, and what else is logged.
async function ask(token, seconds = 0) {
  const at = { "x-test-now": String(START + seconds * 1000) };
  const response = await send(worker.url, "/", { headers: { host: "a", authorization: `Bearer ${token}`, ...at } });
  await response.text();
  const lines = await worker.log();
  const report = JSON.parse(lines.find((line) => line.startsWith("{")));
  return { status: response.status, outcome: report.token?.outcome, told: lines.filter((line) => !line.startsWith("{")) };
}

const outcome = async (...args) => (await ask(...args)).outcome;

test("keys are fetched when they are needed, and again when the issuer has others", async () => {
  const [old, next] = [makeKey("old"), makeKey("new")];
  answer = { body: set(old), headers: { "cache-control": "max-age=3600" } };
  await begin(byUrl());
  const joe = old.token({ sub: "joe" });
  for (const expected of [200, 200, 429]) {
    const { status, outcome, told } = await ask(joe);
    assert.deepEqual([status, outcome, told], [expected, "verified", []]);
  }
  assert.equal((await ask(old.token({ sub: "" }))).status, 200);
  assert.equal(await outcome(next.token({ sub: "joe" })), "unknown_key");
  assert.equal(asked, 1);
  answer = { body: set(next) };
  assert.equal(await outcome(next.token({ sub: "ann" }), 29), "unknown_key");
  assert.equal(asked, 1);
  assert.equal(await outcome(next.token({ sub: "ann" }), 31), "verified");
  assert.equal(asked, 2);
  assert.equal(await outcome(joe, 32), "unknown_key");
  assert.equal(asked, 2);
  assert.equal(await outcome(makeKey("new").token({ sub: "ann" }), 33), "bad_signature");
});

test("keys that cannot be fetched are told once, and those that are known stay", async () => {
  const key = makeKey("1");
  const joe = key.token({ sub: "joe" });
  answer = { status: 503 };
  await begin(byUrl());
  const first = await ask(joe);
  assert.deepEqual([first.status, first.outcome], [200, "keys_unavailable"]);
  assert.equal(first.told.length, 1);
  assert.match(first.told[0], /^client\.token\.jwks_url: the keys at .* cannot be read: the answer has status 503; .* no token is verified/);
  answer = { body: "x".repeat(300_000) };
  const second = await ask(joe, 10);
  assert.deepEqual([second.outcome, second.told, asked], ["keys_unavailable", [], 2]);
  answer = { status: 302, headers: { location: "/jwks?v=1" } };
  assert.equal(await outcome(joe, 20), "keys_unavailable");
  assert.equal(asked, 3, "nothing is followed");
  answer = { body: set(key) };
  const works = await ask(joe, 30);
  assert.equal(works.outcome, "verified");
  assert.match(works.told.join(), /are known again/);
  answer = { status: 500 };
  // Nobody waits for a set that is only old.
  const old = await ask(joe, 640);
  assert.deepEqual([old.outcome, asked], ["verified", 5]);
  assert.match(old.told.join(), /are used meanwhile/);
  answer = { body: set(key) };
  assert.match((await ask(joe, 680)).told.join(), /are known again/);
  // A set that is long over is waited for: the issuer has taken this key back.
  answer = { body: set(makeKey("2")) };
  assert.equal(await outcome(joe, 9000), "unknown_key");
});

test("an issuer that hangs holds a request for a second at most", async () => {
  const key = makeKey("1");
  answer = { hangs: true };
  await begin(byUrl());
  const authorization = `Bearer ${key.token({ sub: "joe" })}`;
  const response = await send(worker.url, "/", { headers: { host: "a", "x-test-now": String(START), authorization, "x-test-fetches": '[{"hangs":true}]' } });
  assert.equal(response.status, 200);
  held.end(set(key));
  const [report] = (await worker.log()).map((line) => JSON.parse(line));
  assert.equal(report.token.outcome, "keys_unavailable");
  const { at_ms } = report.timeline.find(({ event }) => event === "fetch");
  assert.ok(at_ms >= 900 && at_ms <= 1100, `${at_ms} ms`);
  // What came in the end is used.
  assert.equal(await outcome(key.token({ sub: "joe" }), 2), "verified");
});

test("requests at once wait for one fetch", async () => {
  const key = makeKey("1");
  answer = { body: set(key) };
  await begin(byUrl());
  const headers = (number) => ({ host: "a", "x-test-now": String(START), authorization: `Bearer ${key.token({ sub: `${number}` })}` });
  const asking = Array.from({ length: 10 }, (_, number) => send(worker.url, "/", { headers: headers(number) }));
  for (const response of await Promise.all(asking)) assert.equal(response.status, 200);
  const lines = (await worker.log()).map((line) => JSON.parse(line).token.outcome);
  assert.deepEqual([lines, asked], [Array(10).fill("verified"), 1]);
});

test("a secret is one of the Worker's", async () => {
  const of = (secret) => {
    const input = `${encode({ alg: "HS256" })}.${encode({ sub: "joe" })}`;
    return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
  };
  const named = (name) => policy(`algorithms = ["HS256"]\nsecret_env = "${name}"`);
  await begin(named("TOKEN_SECRET"));
  assert.equal(await outcome(of(SECRET)), "verified");
  assert.equal(await outcome(of(`${SECRET}.`)), "bad_signature");
  for (const [name, why] of [["SHORT", /SHORT .* fewer than 32 bytes/], ["NOWHERE", /NOWHERE .* is not set/]]) {
    await worker.begin(named(name), { "x-test-kv": "down" });
    const { outcome, told } = await ask(of(SECRET));
    assert.equal(outcome, "keys_unavailable");
    assert.match(told.join(), why);
  }
});

test("a certificate counts once the platform has verified it", async () => {
  await begin(policy('algorithms = ["EdDSA"]\nkeys = \'' + JSON.stringify(makeKey("1").jwk) + "'").replace("claim:sub", "tls_subject").replace('"skip"', '"refuse"'));
  const verified = { certPresented: "1", certVerified: "SUCCESS", certRevoked: "0", certSubjectDNRFC2253: "CN=joe" };
  for (const [tlsClientAuth, expected] of [
    [undefined, 400],
    [{ ...verified, certVerified: "FAILED:self signed certificate" }, 400],
    [{ ...verified, certVerified: "NONE" }, 400],
    [{ ...verified, certRevoked: "1" }, 400],
    [verified, 200],
    [verified, 200],
    [verified, 429],
    [{ ...verified, certSubjectDNRFC2253: "" }, 200],
  ]) {
    const headers = { host: "a", "x-test-now": String(START), "x-test-cf": JSON.stringify({ tlsClientAuth }) };
    const response = await send(worker.url, "/", { headers });
    assert.equal(response.status, expected, JSON.stringify(tlsClientAuth));
  }
});
