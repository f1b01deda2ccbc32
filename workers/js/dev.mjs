// `npm run dev`: the Worker on loopback, in front of the toy origins that examples/edge.toml names. Needs no network.

import { spawn } from "node:child_process";
import { createServer } from "node:http";

const PORT = 8788;
const BASE = `http://127.0.0.1:${PORT}`;
const ORIGINS = [
  { region: "eu", port: 9001 },
  { region: "us", port: 9002 },
];

const HELP = `
The Worker listens on ${BASE} and runs examples/edge.toml. Try, in another terminal:

  curl -i ${BASE}/hello             Cache-Status: a miss first, then hits with a growing Age; stale after 10 s, and fetched anew behind your back
  curl -i ${BASE}/static/logo.svg   stored for a year, whatever the origin says
  curl -i ${BASE}/api/time          never stored; RateLimit says what is left
  for i in $(seq 15); do curl -so /dev/null -w '%{http_code} ' ${BASE}/api/time; done
                                                 10 at once, then 429 until a second has earned another
  curl -i ${BASE}/error             one origin fails: the other one is asked

Each exchange is one line below: what was decided, and why. Ctrl-C ends everything.
`;

let served = 0;
let failing = false;

function answer(region, request, response) {
  const { pathname } = new URL(request.url, BASE);
  // Of two attempts the second succeeds.
  failing = pathname === "/error" && !failing;
  response.writeHead(failing ? 503 : 200, { "cache-control": "max-age=10", "content-type": "text/plain; charset=utf-8", etag: '"1"' });
  response.end(`${region} answers ${request.method} ${request.url} (answer ${++served})\n`);
}

function startOrigin({ region, port }) {
  const server = createServer((request, response) => answer(region, request, response));
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(new Error(`origin ${region} cannot listen on port ${port}: ${error.message}`)));
    server.listen(port, "127.0.0.1", resolve);
  });
}

function startWrangler() {
  const options = ["--ip", "127.0.0.1", "--port", String(PORT), "--inspector-port", "0", "--persist-to", ".wrangler/state"];
  return spawn("wrangler", ["dev", ...options, "--show-interactive-dev-session=false"], {
    stdio: "inherit",
    // A group of its own, so that all of its processes can be ended together.
    detached: true,
    // Nothing but the client and the toy origins is spoken to.
    env: {
      ...process.env,
      WRANGLER_SEND_METRICS: "false",
      WRANGLER_SEND_ERROR_REPORTS: "false",
      WRANGLER_LOG_PATH: ".wrangler/logs",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
    },
  });
}

function end(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended by itself.
  }
}

async function ready() {
  for (;;) {
    const answered = await fetch(`${BASE}/ready`).catch(() => null);
    if (answered !== null) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

await Promise.all(ORIGINS.map(startOrigin)).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
const wrangler = startWrangler();
wrangler.on("error", (error) => {
  console.error(`wrangler cannot be started, run this as \`npm run dev\`: ${error.message}`);
  process.exit(1);
});
wrangler.on("exit", (code) => {
  end(wrangler, "SIGKILL");
  process.exit(code ?? 1);
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.once(signal, () => {
    end(wrangler, "SIGTERM");
    setTimeout(() => end(wrangler, "SIGKILL"), 3000);
  });
}
await ready();
console.log(HELP);
