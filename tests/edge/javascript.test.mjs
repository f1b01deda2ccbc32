// The npm package of core/js, as an origin service in Node would use it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";

const { compile, evaluate } = createRequire(import.meta.url)("../../core/js/pkg/tidegate_js.js");
const policy = readFileSync(new URL("../../examples/edge.toml", import.meta.url), "utf8");

test("a policy is evaluated for a request", () => {
  const report = evaluate(policy, { url: "https://shop.example/api/rates?x=1", client: "203.0.113.9", country: "US" });
  assert.equal(report.route, "api");
  assert.equal(report.cache.bypass, "profile");
  assert.deepEqual(report.origins, ["us", "eu"]);
  const [{ name, outcome, remaining }] = report.limits;
  assert.deepEqual({ name, outcome, remaining }, { name: "per-client", outcome: "allowed", remaining: 9 });
  assert.deepEqual(report.timeline.map(({ event }) => event), ["charge", "fetch", "response", "reply"]);
});

test("method and header fields count", () => {
  const url = "http://shop.example/page";
  assert.equal(evaluate(policy, { url }).cache.outcome, "miss");
  assert.equal(evaluate(policy, { url, method: "POST" }).cache.bypass, "method");
  assert.equal(evaluate(policy, { url, headers: { cookie: ["a=1", "auth_token=x"] } }).cache.bypass, "cookie");
});

test("what is wrong is said", () => {
  assert.throws(() => evaluate('[[routes]]\npool = "none"\n', { url: "http://a/" }), { name: "Error", message: /^policy:2:1: routes\[0\]\.pool: / });
  assert.throws(() => evaluate(policy, { url: "/x" }), { message: /request\.url/ });
  assert.throws(() => evaluate(policy, { url: "http://a/", country: "Germany" }), { message: /request\.country/ });
});

test("a policy is compiled into what the Worker reads", () => {
  assert.match(compile(policy), /^tidegate-policy 4 [0-9a-f]{64} [0-9a-f]+ [0-9a-f]{16}\n$/);
  assert.throws(() => compile('[[routes]]\npool = "none"\n'), { message: /^policy:2:1: routes\[0\]\.pool: / });
});
