// Starts the built Worker with its Durable Objects, under the policy that standard input holds. Prints its port, and ends with
// its standard input's second line or end.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { startWorker } from "../../tests/edge/harness.mjs";

const { compile } = createRequire(import.meta.url)("../../core/js/pkg/tidegate_js.js");

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
// The policy is one line: a JSON text.
const policy = JSON.parse((await lines.next()).value);
const worker = await startWorker({ realTime: true });
try {
  const policies = await worker.miniflare.getKVNamespace("POLICY");
  await policies.put("policy", compile(policy));
  console.log(new URL(worker.url).port);
  await lines.next();
} finally {
  await worker.close();
}
process.exit(0);
