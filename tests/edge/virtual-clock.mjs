// The Worker in a world that a test controls: a test-only entry around the built module.
//
// x-test-now      on a request: the clock goes forward to this time, milliseconds since the epoch
// x-test-url      on a request: the URL that the Worker sees
// x-test-client   on a request: the client's address
// x-test-cf       on a request: what `request.cf` holds, JSON
// x-test-trap     on a request: the wasm instance fails as by a trap when it next asks for the time
// x-test-fetches  on a request: JSON array, for each fetch of the exchange {"after": MS, "hangs": BOOL}
// x-test-limits   on a request: counters do not answer: "down" (an error) or "hang"
// x-test-purges   on a request: the same of the log of purges
// x-test-kv       on a request: the same of the KV namespace
// GET /.test/log    answers the lines logged since it was last asked, as a JSON array, when all background work has ended
// GET /.test/evict  lets the cache drop every body that lies apart from its head
// POST /.test/purge-log  asks the log of purges, as an isolate does
// GET /.test/reset  begins a new world: time 0, nothing stored or counted, a fresh wasm instance, which has no policy if x-test-kv is there
//
// Time stands still. An origin's answer moves it by what the test says; a timer moves it to its end, but only when nothing else is going on. None
// of these names reaches the product.

import worker, { LimitCounter as Counter } from "../../workers/build/dist/worker.js";

export { PurgeLog } from "../../workers/build/dist/worker.js";

const START = new Date().getTime();
let now = 0;
let next = 7;
let trap = false;
let world = 0;
let lines = [];
let fetches = [];
let limits = null;
let purges = null;
let kv = null;

// In this world: I/O under way, and promises given to waitUntil that have not settled.
let pending = { io: 0, background: 0 };

const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...args) {
    super(...(args.length === 0 ? [now] : args));
  }
  static now() {
    if (trap) {
      trap = false;
      throw new WebAssembly.RuntimeError("unreachable");
    }
    return now;
  }
};

function tracked(promise, kind = "io") {
  const here = pending;
  here[kind]++;
  const done = () => here[kind]--;
  promise.then(done, done);
  return promise;
}

// `target` with some of its methods replaced; the others keep working on `target` itself.
function overlay(target, methods) {
  return new Proxy(target, {
    get(_, name) {
      if (Object.hasOwn(methods, name)) return methods[name];
      const value = Reflect.get(target, name);
      return typeof value === "function" && name !== "constructor" ? value.bind(target) : value;
    },
  });
}

// Randomness: in each world 7, 8, 9, ..., which the Worker draws from pieces of 16 bytes. The first is
// the seed.
crypto.getRandomValues = (array) => {
  array.fill(0);
  for (let at = 0; at < array.length; at += 16) array[at] = next++ % 256;
  return array;
};

const realFetch = globalThis.fetch;
globalThis.fetch = (...args) => {
  const script = fetches.shift();
  if (script?.hangs) return hanging(realFetch(...args), script);
  const answer = realFetch(...args).then(
    (response) => arrived(response, script),
    (error) => {
      now += script?.after ?? 0;
      throw error;
    },
  );
  return tracked(answer);
};

function hanging(promise, script) {
  now += script.after ?? 0;
  return promise;
}

// A scripted answer is dated when it comes.
function arrived(response, script) {
  now += script?.after ?? 0;
  if (script === undefined || response.status === 101 || response.headers.has("date")) return response;
  const headers = new Headers(response.headers);
  headers.append("date", new RealDate(now).toUTCString());
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers, encodeBody: "manual" });
}

// Timers fire in the order of their ends. Each looks for itself whether it is its turn, for a callback belongs to the request that set it.
const realSetTimeout = globalThis.setTimeout;
const timers = new Map();
let nextTimer = 1;
globalThis.setTimeout = (callback, delay = 0, ...args) => {
  const id = nextTimer++;
  timers.set(id, now + delay);
  // I/O that begins right after it has been waited for must be seen: a timer fires when twice nothing was going on.
  let quiet = 0;
  const look = () => {
    const end = timers.get(id);
    if (end === undefined) return;
    quiet = pending.io === 0 ? quiet + 1 : 0;
    if (quiet < 2 || [...timers].some(([other, at]) => at < end || (at === end && other < id))) {
      realSetTimeout(look, 1);
      return;
    }
    timers.delete(id);
    now = Math.max(now, end);
    callback(...args);
  };
  realSetTimeout(look, 0);
  return id;
};
globalThis.clearTimeout = (id) => timers.delete(id);

// A cache that is opened once is that of the world in which it is used.
const realOpen = caches.open.bind(caches);
const urls = new Set();
caches.open = async (name) => {
  const use = async (method, url, ...args) => {
    const cache = await realOpen(`${name}-${START}-${world}`);
    urls.add(url);
    return cache[method](url, ...args);
  };
  const method = (method) => (...args) => tracked(use(method, ...args));
  return { match: method("match"), put: method("put"), delete: method("delete") };
};

async function evict() {
  const cache = await caches.open("tidegate");
  const apart = [...urls].filter((url) => new URL(url).pathname.split("/").length > 2);
  for (const url of apart) await cache.delete(url);
  return new Response(null, { status: 204 });
}

// What is logged goes to the test alone.
for (const kind of ["log", "warn", "error"]) console[kind] = (...args) => lines.push(args.join(" "));

function namespace(real, failure) {
  return overlay(real, {
    getByName(name) {
      const stub = real.getByName(`${START}-${world}-${name}`);
      return overlay(stub, {
        ask(text) {
          if (failure() === "down") return Promise.reject(new Error("the object is down"));
          if (failure() === "hang") return new Promise(() => {});
          return tracked(stub.ask(text));
        },
      });
    },
  });
}

function context(real) {
  return overlay(real, {
    waitUntil(promise) {
      real.waitUntil(tracked(promise, "background"));
    },
  });
}

async function settled() {
  for (let quiet = 0; quiet < 2; ) {
    await new Promise((resolve) => realSetTimeout(resolve, 1));
    quiet = pending.io === 0 && pending.background === 0 ? quiet + 1 : 0;
  }
}

// A failed instance is replaced, and with it all that the module kept.
async function reset(request, surroundings, ctx) {
  world++;
  now = 0;
  pending = { io: 0, background: 0 };
  fetches = [];
  limits = null;
  purges = null;
  kv = request.headers.get("x-test-kv");
  timers.clear();
  next = 7;
  trap = true;
  const used = new Request("http://reset.test/", { method: "POST", body: "x" });
  await used.text();
  await worker.fetch(used, surroundings, ctx);
  await settled();
  now = 0;
  kv = null;
  lines = [];
  return new Response(null, { status: 204 });
}

async function log() {
  await settled();
  return Response.json(lines.splice(0));
}

function direct(request) {
  const headers = new Headers(request.headers);
  const take = (name) => {
    const value = headers.get(name);
    headers.delete(name);
    return value;
  };
  now = Math.max(now, Number(take("x-test-now") ?? 0));
  const client = take("x-test-client");
  if (client !== null) headers.set("cf-connecting-ip", client);
  trap = take("x-test-trap") !== null;
  fetches = JSON.parse(take("x-test-fetches") ?? "[]");
  limits = take("x-test-limits");
  purges = take("x-test-purges");
  kv = take("x-test-kv");
  const url = take("x-test-url") ?? request.url;
  const cf = JSON.parse(take("x-test-cf") ?? "null") ?? undefined;
  return new Request(url, new Request(request, { headers, cf }));
}

export default {
  async fetch(request, env, ctx) {
    const surroundings = {
      ...env,
      LIMITS: namespace(env.LIMITS, () => limits),
      ...(env.PURGES && { PURGES: namespace(env.PURGES, () => purges) }),
      POLICY: overlay(env.POLICY, {
        get(...args) {
          if (kv === "down") throw new Error("KV is down");
          if (kv === "hang") return new Promise(() => {});
          return tracked(env.POLICY.get(...args));
        },
      }),
    };
    const { pathname } = new URL(request.url);
    if (pathname === "/.test/log") return log();
    if (pathname === "/.test/evict") return evict();
    if (pathname === "/.test/purge-log") return new Response(await surroundings.PURGES.getByName("all").ask(await request.text()));
    if (pathname === "/.test/reset") return reset(request, surroundings, context(ctx));
    return worker.fetch(direct(request), surroundings, context(ctx));
  },
};

// Says when an alarm of this world has gone off, and how many tables the object has left.
export class LimitCounter extends Counter {
  async alarm() {
    await super.alarm();
    const tables = this.ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'counter'").toArray();
    if (this.ctx.id.name?.startsWith(`${START}-${world}-`)) lines.push(`alarm: ${tables.length} tables`);
  }
}
