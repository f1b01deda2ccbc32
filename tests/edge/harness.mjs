// The built Worker under workerd, with the clock, the client and the origins in the test's hands.

import { fileURLToPath } from "node:url";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";

const root = fileURLToPath(new URL("../../", import.meta.url));

// Starts the Worker; `bindings` become its variables.
export async function startWorker(bindings) {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "tidegate",
      rootPath: root,
      modulesRoot: root,
      modules: [
        { type: "ESModule", path: "tests/edge/virtual-clock.mjs" },
        { type: "ESModule", path: "workers/build/dist/worker.js" },
        { type: "CompiledWasm", path: "workers/build/dist/index_bg.wasm" },
      ],
      compatibilityDate: "2026-11-01",
      bindings,
      kvNamespaces: ["POLICY"],
      durableObjects: { LIMITS: { className: "LimitCounter", useSQLite: true } },
      cf: false,
      // Straight to the Worker: Miniflare's own entry would compress answers, which delays their chunks.
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      log: new Log(LogLevel.ERROR),
    }),
  );
  await miniflare.ready;
  const url = await miniflare.unsafeGetDirectURL();
  return { url, miniflare, close: () => miniflare.dispose() };
}
