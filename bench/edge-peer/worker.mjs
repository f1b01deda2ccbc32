// A Worker made by hand that decides what Tidegate decides under policy.toml, and says the same in
// its answers. It is what a careful author would write for this policy alone, and the measure of
// what generality and wasm cost.

import { DurableObject } from "cloudflare:workers";

const LIFETIME_MS = 3_600_000;
const KEPT_AFTER_LIFETIME_MS = 3_600_000;
const COUNTER_PATIENCE_MS = 1000;
const ORIGIN_PATIENCE_MS = 30_000;
// How long a spent counter is kept before its alarm deletes it.
const SPENT_KEPT_MS = 60_000;

const LIMITS = {
  allow: { name: "allow", amount: 1_000_000, periodMs: 1000, burst: 1_000_000 },
  reject: { name: "reject", amount: 1, periodMs: 86_400_000, burst: 1 },
};

const ROUTES = [
  { prefix: "/hit/", cached: true },
  { prefix: "/allow/", cached: true, limit: LIMITS.allow },
  { prefix: "/reject/", cached: true, limit: LIMITS.reject },
  { prefix: "/pass/", cached: false },
];

// Fields that end at this hop, and those that say how a message is carried.
const HOP_BY_HOP = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const route = ROUTES.find(({ prefix }) => url.pathname.startsWith(prefix));
    if (route === undefined)
      return refusal(404, "No route", "Nothing is served at this address.", "no_route");
    if (passes(request) >= 8)
      return refusal(508, "Loop", "The request goes round in a circle.", "loop");
    const said = new Headers();
    if (route.limit !== undefined) {
      const verdict = await charge(env, route.limit, request);
      if (verdict !== null) {
        const { limit } = route;
        said.append("ratelimit", `"${limit.name}";r=${verdict.remaining};t=${verdict.reset}`);
        said.append(
          "ratelimit-policy",
          `"${limit.name}";q=${limit.burst};w=${limit.periodMs / 1000}`,
        );
        if (!verdict.allowed) return tooMany(verdict, limit.name, said);
      }
    }
    return route.cached && isCacheable(request)
      ? cached(request, url, env, ctx, said)
      : passed(request, url, env, said);
  },
};

function passes(request) {
  const loop = request.headers.get("cdn-loop");
  return loop === null
    ? 0
    : loop.split(",").filter((name) => name.trim().startsWith("tidegate")).length;
}

function isCacheable({ method, headers }) {
  return method === "GET" && !headers.has("range") && !headers.has("authorization");
}

async function cached(request, url, env, ctx, said) {
  const key = `https://peer.store/${url.host}${url.pathname}${url.search}`;
  const store = await caches.open("peer");
  const entry = await store.match(key);
  const now = Date.now();
  if (entry !== undefined) {
    const { status, received, fields } = JSON.parse(entry.headers.get("peer-head"));
    const left = received + LIFETIME_MS - now;
    if (left > 0) {
      const headers = new Headers();
      for (const [name, value] of fields) headers.append(name, value);
      headers.append("age", String(Math.floor((now - received) / 1000)));
      headers.append("via", "1.1 tidegate");
      headers.append("cache-status", `tidegate; hit; ttl=${Math.floor(left / 1000)}`);
      for (const [name, value] of said) headers.append(name, value);
      const etag = headers.get("etag");
      if (etag !== null && request.headers.get("if-none-match") === etag) {
        ctx.waitUntil(entry.body.cancel());
        return new Response(null, { status: 304, headers });
      }
      return new Response(entry.body, { status, headers, encodeBody: "manual" });
    }
  }
  const answer = await fetchOrigin(request, url, env);
  if (answer === null)
    return refusal(504, "Origin timeout", "The origin took too long.", "origin_timeout");
  if (answer.status !== 200)
    return present(answer, said, `fwd=uri-miss; fwd-status=${answer.status}`);
  const [body, copy] = answer.body.tee();
  ctx.waitUntil(keep(store, key, answer, copy, Date.now()));
  return present(
    new Response(body, answer),
    said,
    `fwd=uri-miss; fwd-status=200; ttl=${LIFETIME_MS / 1000}; stored`,
  );
}

// What breaks off is not stored: the body is read whole before.
async function keep(store, key, answer, copy, received) {
  const fields = [...answer.headers].filter(([name]) => !HOP_BY_HOP.includes(name));
  const body = await new Response(copy).arrayBuffer();
  const seconds = (LIFETIME_MS + KEPT_AFTER_LIFETIME_MS) / 1000;
  const headers = new Headers();
  headers.append("content-type", "application/octet-stream");
  headers.append("cache-control", `public, max-age=${seconds}`);
  headers.append("peer-head", JSON.stringify({ status: answer.status, received, fields }));
  await store.put(key, new Response(body, { headers, encodeBody: "manual" }));
}

async function passed(request, url, env, said) {
  const answer = await fetchOrigin(request, url, env);
  return answer === null
    ? refusal(504, "Origin timeout", "The origin took too long.", "origin_timeout")
    : present(answer, said, null);
}

function present(answer, said, status) {
  const headers = new Headers(answer.headers);
  for (const name of HOP_BY_HOP) headers.delete(name);
  headers.append("via", "1.1 tidegate");
  if (status !== null) headers.append("cache-status", `tidegate; ${status}`);
  for (const [name, value] of said) headers.append(name, value);
  return new Response(answer.body, { status: answer.status, headers, encodeBody: "manual" });
}

// Null if the origin does not answer in time.
async function fetchOrigin(request, url, env) {
  const headers = new Headers(request.headers);
  for (const name of HOP_BY_HOP) headers.delete(name);
  const client = request.headers.get("cf-connecting-ip") ?? "127.0.0.1";
  const scheme = url.protocol.slice(0, -1);
  headers.append("via", "1.1 tidegate");
  headers.append("cdn-loop", "tidegate");
  headers.append("forwarded", `for=${client};host="${url.host}";proto=${scheme}`);
  headers.set("traceparent", request.headers.get("traceparent") ?? freshTrace());
  headers.append("x-forwarded-for", client);
  headers.set("x-forwarded-host", url.host);
  headers.set("x-forwarded-proto", scheme);
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), ORIGIN_PATIENCE_MS);
  try {
    return await fetch(env.ORIGIN + url.pathname + url.search, {
      method: request.method,
      headers,
      body: request.body,
      redirect: "manual",
      signal: abort.signal,
      encodeResponseBody: "manual",
      cf: { cacheTtlByStatus: { "100-599": -1 } },
    });
  } catch (error) {
    if (abort.signal.aborted) return null;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function freshTrace() {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  let digits = "";
  for (const byte of bytes) digits += byte.toString(16).padStart(2, "0");
  return `00-${digits.slice(0, 32)}-${digits.slice(32)}-01`;
}

// The verdict of a limit; null if its counter does not answer in time: the request passes then.
async function charge(env, limit, request) {
  const user = request.headers.get("x-user") ?? request.headers.get("cf-connecting-ip") ?? "";
  let timer;
  const patience = new Promise((resolve) => {
    timer = setTimeout(() => resolve(null), COUNTER_PATIENCE_MS);
  });
  const { amount, periodMs, burst } = limit;
  const asked = env.LIMITS.getByName(`${limit.name} ${user}`).charge(
    amount,
    periodMs,
    burst,
    Date.now(),
  );
  try {
    return await Promise.race([asked, patience]);
  } catch (error) {
    console.error(`counter of ${limit.name}: ${error}`);
    return null;
  } finally {
    clearTimeout(timer);
  }
}

function tooMany({ retryAfter }, name, said) {
  const answer = refusal(
    429,
    "Quota exceeded",
    "Wait as long as Retry-After says.",
    "limit_exceeded",
    {
      type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
      "violated-policies": [name],
    },
  );
  answer.headers.append("retry-after", String(retryAfter));
  for (const [name, value] of said) answer.headers.append(name, value);
  return answer;
}

function refusal(status, title, detail, reason, more = {}) {
  const headers = new Headers();
  headers.append("content-type", "application/problem+json");
  headers.append("cache-control", "no-store");
  headers.append("proxy-status", `tidegate; error=http_request_denied; details="${reason}"`);
  return new Response(
    JSON.stringify({ type: "about:blank", title, status, detail, reason, ...more }),
    { status, headers },
  );
}

// One counter: the time at which its quota is whole again is all of its state (GCRA).
export class Counter extends DurableObject {
  #tat = 0;
  #prepared = false;

  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, tat REAL NOT NULL)",
    );
    for (const { tat } of ctx.storage.sql.exec("SELECT tat FROM counter")) this.#tat = tat;
  }

  async charge(amount, periodMs, burst, now) {
    const interval = periodMs / amount;
    const tolerance = interval * burst;
    const next = Math.max(this.#tat, now) + interval;
    const allowed = next - now <= tolerance;
    if (allowed) {
      this.#tat = next;
      this.ctx.storage.sql.exec("INSERT OR REPLACE INTO counter VALUES (1, ?)", next);
      if (!this.#prepared) {
        this.#prepared = true;
        await this.ctx.storage.setAlarm(next + SPENT_KEPT_MS);
      }
    }
    const used = Math.max(this.#tat - now, 0);
    return {
      allowed,
      remaining: Math.floor((tolerance - used) / interval),
      reset: Math.ceil(used / 1000),
      retryAfter: allowed ? 0 : Math.ceil((next - now - tolerance) / 1000),
    };
  }

  async alarm() {
    if (this.#tat > Date.now()) return this.ctx.storage.setAlarm(this.#tat + SPENT_KEPT_MS);
    this.#tat = 0;
    this.#prepared = false;
    return this.ctx.storage.deleteAll();
  }
}
