// Bare workerd processes, each with one Worker and a store of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { send } from "./load.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const KIND = process.arch === "arm64" ? "arm64" : "64";
const BINARY = join(ROOT, `node_modules/@cloudflare/workerd-linux-${KIND}/bin/workerd`);
const READY_MS = 20_000;

// A Worker: its modules, the entry first, and the classes of its Durable Objects by binding.
export const WORKERS = {
  tidegate: {
    folder: join(ROOT, "workers/build/dist"),
    modules: { "worker.js": "esModule", "index_bg.wasm": "wasm" },
    objects: { LIMITS: "LimitCounter", PURGES: "PurgeLog" },
  },
  javascript: {
    folder: join(ROOT, "bench/edge-peer"),
    modules: { "worker.mjs": "esModule" },
    objects: { LIMITS: "Counter" },
  },
};

// What the platform's calls cost alone.
export const FLOOR = { ...WORKERS.javascript, modules: { "floor.mjs": "esModule" } };

export class Workerd {
  constructor(worker, directory, ports) {
    this.worker = worker;
    this.directory = directory;
    this.ports = ports;
  }

  // Starts the process and waits for its first answer. Returns how many milliseconds that took.
  async start() {
    this.port = await freePort();
    mkdirSync(this.directory, { recursive: true });
    const path = join(this.directory, "config.capnp");
    writeFileSync(path, config(this.worker, this.port, this.ports, this.directory));
    const began = performance.now();
    this.process = spawn(BINARY, ["serve", path, "--experimental"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.said = "";
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.on("data", (text) => (this.said = `${this.said}${text}`.slice(-2000)));
    }
    while (performance.now() - began < READY_MS) {
      if (this.process.exitCode !== null) break;
      const answered = await send(this.port, "/none", {}).catch(() => null);
      if (answered !== null) return performance.now() - began;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    throw new Error(`workerd did not start: ${this.said}`);
  }

  // CPU time of all its threads so far, user and system, in microseconds. The scheduler's own sum:
  // that of /proc/PID/stat is rounded to hundredths of a second.
  cpuMicros() {
    const tasks = `/proc/${this.process.pid}/task`;
    let nanos = 0;
    for (const task of readdirSync(tasks)) {
      nanos += Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]);
    }
    return nanos / 1000;
  }

  async stop() {
    if (this.process === undefined || this.process.exitCode !== null) return;
    const ended = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await ended;
  }
}

function config({ folder, modules, objects }, port, ports, directory) {
  const parts = Object.entries(modules).map(([name, kind]) => {
    const path = relative(directory, join(folder, name));
    return `(name = "${name}", ${kind} = embed "${path}")`;
  });
  const classes = Object.values(objects).map(
    (name) => `(className = "${name}", uniqueKey = "${name}", enableSql = true)`,
  );
  const bindings = Object.entries(objects).map(
    ([name, of]) => `(name = "${name}", durableObjectNamespace = "${of}")`,
  );
  mkdirSync(join(directory, "objects"), { recursive: true });
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [${parts.join(", ")}],
      compatibilityDate = "2026-11-01",
      bindings = [${bindings.join(", ")},
        (name = "POLICY", kvNamespace = "policy"),
        (name = "ORIGIN", text = "http://127.0.0.1:${ports.origin}")],
      durableObjectNamespaces = [${classes.join(", ")}],
      durableObjectStorage = (localDisk = "objects"),
      cacheApiOutbound = "cache",
    )),
    (name = "cache", external = (address = "127.0.0.1:${ports.cache}", http = (style = proxy))),
    (name = "policy", external = (address = "127.0.0.1:${ports.policy}", http = ())),
    (name = "objects", disk = (path = "${join(directory, "objects")}", writable = true)),
    (name = "internet", network = (allow = ["private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", service = "main", http = ())],
);
`;
}

async function freePort() {
  const listener = createServer();
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}
