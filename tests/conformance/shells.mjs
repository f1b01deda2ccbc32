// The two shells, each serving the policy of this folder in front of the suite's origin.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve as resolvePath } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { send } from "../edge/client.mjs";
import { startWorker } from "../edge/harness.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const POLICY = new URL("tidegate.toml", import.meta.url);
const PROGRAM = process.env.TIDEGATE ?? resolvePath(ROOT, process.env.CARGO_TARGET_DIR ?? "target", "debug/tidegate");
const PATIENCE = 20_000;
const START = { native: startNative, edge: startEdge };

export const SHELLS = Object.keys(START);

// Starts a shell in front of an origin. `check` throws if it no longer passes requests on.
export async function startShell(name, origin) {
  if (!SHELLS.includes(name)) throw new Error(`there is no shell \`${name}\`, only ${SHELLS.join(" and ")}`);
  const policy = (await readFile(POLICY, "utf8")).replace("http://127.0.0.1:8000", origin);
  const shell = await START[name](policy);
  const check = async () => {
    const response = await send(shell.url, "/").catch((error) => ({ status: error.message }));
    if (response.status !== 204) throw new Error(`the ${name} shell does not pass requests on to the suite's origin: ${response.status}`);
  };
  return { ...shell, check };
}

async function startNative(policy) {
  const folder = await mkdtemp(join(tmpdir(), "tidegate-conformance-"));
  const file = join(folder, "tidegate.toml");
  await writeFile(file, policy);
  const child = spawn(PROGRAM, ["serve", "--policy", file], { stdio: ["ignore", "ignore", "pipe"] });
  const close = async () => {
    if (child.kill("SIGKILL")) await once(child, "exit");
    await rm(folder, { recursive: true });
  };
  try {
    return { url: `http://${await address(child)}`, close };
  } catch (error) {
    await close();
    throw error;
  }
}

// Where it serves, as soon as it says so. What it says later is read too: nobody may be kept from writing.
function address(child) {
  const said = [];
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${PROGRAM} does not serve (${why})\n${said.join("\n")}`));
    setTimeout(() => fail("it said nothing for too long"), PATIENCE).unref();
    child.once("error", (error) => fail(`${error.message}; \`cargo build\` makes it`));
    child.once("close", (code) => fail(`it ended with ${code}`));
    createInterface(child.stderr).on("line", (line) => {
      said.push(line);
      const match = /serving on (\S+)$/.exec(line);
      if (match) resolve(match[1]);
    });
  });
}

async function startEdge(policy) {
  const worker = await startWorker({ realTime: true });
  await worker.putPolicy(policy);
  return { url: worker.url.replace(/\/$/, ""), close: worker.close };
}
