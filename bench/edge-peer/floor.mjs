// The platform's own share: a Worker that makes the calls of each scenario and decides nothing. It
// reads no field, answers with what it was given, and charges nothing.

import { DurableObject } from "cloudflare:workers";

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    const [, scenario] = pathname.split("/");
    switch (scenario) {
      case "hit":
        return stored(request, env, ctx, pathname);
      case "allow":
        await env.LIMITS.getByName("allow").ask("allow");
        return stored(request, env, ctx, pathname);
      case "reject":
        await env.LIMITS.getByName("reject").ask("reject");
        return new Response("no", { status: 429 });
      case "pass":
        return fetch(env.ORIGIN + pathname);
      default:
        return new Response("none", { status: 404 });
    }
  },
};

async function stored(request, env, ctx, pathname) {
  const key = `https://floor.store${pathname}`;
  const store = await caches.open("floor");
  const found = await store.match(key);
  if (found !== undefined) return found;
  const answer = await fetch(env.ORIGIN + pathname);
  ctx.waitUntil(store.put(key, answer.clone()));
  return answer;
}

// Writes once for each call, as a counter that allows a request does.
export class Counter extends DurableObject {
  #calls = 0;

  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, calls INT)");
  }

  ask(name) {
    this.#calls++;
    if (name === "allow") {
      this.ctx.storage.sql.exec("INSERT OR REPLACE INTO counter VALUES (1, ?)", this.#calls);
    }
    return "1 0 0 0";
  }
}
