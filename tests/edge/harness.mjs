// The built Worker under workerd, with the clock, the client and the origins in the test's hands.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { send } from "./client.mjs";

const { compile } = createRequire(import.meta.url)("../../core/js/pkg/tidegate_js.js");
const root = fileURLToPath(new URL("../../", import.meta.url));

// Starts the Worker. What it logs goes to the test, not to the terminal. In real time it stands alone: no `begin` and no `log`.
// `bare` leaves out what an operator sets up: the log of purges and the token. `secrets` are further secrets of the Worker.
export async function startWorker({ realTime = false, bare = [], secrets = {} } = {}) {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "tidegate",
      rootPath: root,
      modulesRoot: root,
      modules: [
        ...(realTime ? [] : [{ type: "ESModule", path: "tests/edge/virtual-clock.mjs" }]),
        { type: "ESModule", path: "workers/build/dist/worker.js" },
        { type: "CompiledWasm", path: "workers/build/dist/index_bg.wasm" },
      ],
      compatibilityDate: "2026-11-01",
      kvNamespaces: ["POLICY"],
      durableObjects: {
        LIMITS: { className: "LimitCounter", useSQLite: true },
        ...(bare.includes("log") ? {} : { PURGES: { className: "PurgeLog", useSQLite: true } }),
      },
      bindings: { ...(bare.includes("token") ? {} : { TIDEGATE_ADMIN_TOKEN: "secret" }), ...secrets },
      cf: false,
      // Straight to the Worker: Miniflare's own entry would compress answers, which delays their chunks.
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      handleRuntimeStdio: (stdout, stderr) => {
        stdout.resume();
        stderr.resume();
      },
      // In real time nobody reads what the Worker logs.
      ...(realTime ? { handleStructuredLogs: () => {} } : {}),
      log: new Log(LogLevel.ERROR),
    }),
  );
  await miniflare.ready;
  const url = String(await miniflare.unsafeGetDirectURL());
  const policies = await miniflare.getKVNamespace("POLICY");
  return {
    url,
    miniflare,
    close: () => miniflare.dispose(),
    // Begins a new world under this policy, as it is written; `null` leaves the one that is compiled in. `headers` are for the reset.
    async begin(policy, headers = {}) {
      if (policy === null) await policies.delete("policy");
      else await policies.put("policy", compile(policy));
      await send(url, "/.test/reset", { headers });
    },
    // Begins a new world with this text in KV, whatever it is.
    async beginWith(text, headers = {}) {
      await policies.put("policy", text);
      await send(url, "/.test/reset", { headers });
    },
    putPolicy: (policy) => policies.put("policy", compile(policy)),
    putText: (text) => policies.put("policy", text),
    forgetGoodPolicy: () => policies.delete("policy-last-good"),
    // The lines logged since this was last asked, when all background work has ended.
    async log() {
      return JSON.parse(await (await send(url, "/.test/log")).text());
    },
  };
}
