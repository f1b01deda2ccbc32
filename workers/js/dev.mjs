// `npm run dev`: the Worker on loopback in front of toy origins.

import { spawn } from "node:child_process";
import { createServer } from "node:http";

// The regions of the example policy, and the ports it expects their origins on.
const ORIGINS = [
  { region: "eu", port: 9101 },
  { region: "us", port: 9102 },
];

for (const { region, port } of ORIGINS) {
  const server = createServer((request, response) => {
    response.setHeader("cache-control", "max-age=10");
    response.setHeader("content-type", "text/plain");
    response.end(`${region} answers ${request.method} ${request.url}\n`);
  });
  server.listen(port, "127.0.0.1", () => console.log(`toy origin ${region}: http://127.0.0.1:${port}`));
}

const wrangler = spawn(
  "wrangler",
  [
    ...["dev", "--ip", "127.0.0.1", "--port", "8788", "--inspector-port", "0", "--persist-to", ".wrangler/state"],
    ...["--var", `ORIGIN:http://127.0.0.1:${ORIGINS[0].port}`, "--show-interactive-dev-session=false"],
  ],
  {
    stdio: "inherit",
    // Nothing but the browser and the toy origins is spoken to.
    env: {
      ...process.env,
      WRANGLER_SEND_METRICS: "false",
      WRANGLER_SEND_ERROR_REPORTS: "false",
      WRANGLER_LOG_PATH: ".wrangler/logs",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
    },
  },
);
wrangler.on("exit", (code) => process.exit(code ?? 1));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => wrangler.kill(signal));
