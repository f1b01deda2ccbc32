// The npm package of core/js, as an origin service in Node would use it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

const { evaluate } = createRequire(import.meta.url)("../../core/js/pkg/tidegate_js.js");

test("evaluates a policy for a request", () => {
  const answer = JSON.parse(evaluate("abc", "{}"));
  assert.deepEqual(answer, { policy_bytes: 3, request_bytes: 2 });
});
