// The Worker's entry: hands events to the wasm module, and keeps a failure of that module to the requests it hit.
//
// A panic or trap ends the wasm instance, and the promises of every exchange inside it would stay pending for ever. Here each
// of them is answered at once, and the next event finds a fresh instance.

import { DurableObject } from "cloudflare:workers";
import * as wasm from "../build/bind/index.js";

// Made by workers-rs: `criticalError` is set when the instance has failed, `instanceId` counts
// instances.
const state = wasm.__worker_init_state();
// What the module has promised.
const inFlight = wasm.inFlight();

let failed = false;
Object.defineProperty(state, "criticalError", {
  get: () => failed,
  set(value) {
    failed = value;
    if (!value) return;
    for (const { reject } of inFlight) reject(new Error("the wasm instance failed"));
    inFlight.clear();
  },
});

function recover() {
  if (!failed) return;
  wasm.__wbg_reset_state();
  failed = false;
}

// Answers for an exchange that failed: as the policy says, with an origin's unchecked answer or a refusal.
async function instead(request, env, error) {
  console.error(`the exchange failed: ${error}`);
  try {
    recover();
    const origin = await wasm.failOpenOrigin(request, env);
    if (origin !== undefined) {
      const answer = await fetch(unchecked(request, origin));
      if (isPresentable(answer)) return answer;
      console.error(`and the origin answered with status ${answer.status}`);
    }
  } catch (again) {
    console.error(`and so did passing it on: ${again}`);
  }
  return refusal();
}

// The runtime would replace any other answer by a bare 500 (RFC 9110, section 15: a status beyond 599 is invalid).
function isPresentable({ status, webSocket }) {
  return (status >= 200 && status <= 599) || (status === 101 && webSocket);
}

function unchecked(request, origin) {
  const { pathname, search } = new URL(request.url);
  return new Request(origin + pathname + search, new Request(request, { redirect: "manual" }));
}

// What the core answers to a request that it cannot handle.
function refusal() {
  const problem = {
    type: "about:blank",
    title: "Unavailable",
    status: 503,
    detail: "The request could not be handled.",
    reason: "internal",
  };
  return new Response(JSON.stringify(problem), {
    status: 503,
    headers: {
      "content-type": "application/problem+json",
      "cache-control": "no-store",
      "proxy-status": 'tidegate; error=proxy_internal_error; details="internal"',
    },
  });
}

export default {
  fetch(request, env, ctx) {
    let exchange;
    try {
      recover();
      exchange = wasm.fetch(request, env, ctx);
    } catch (error) {
      return instead(request, env, error);
    }
    if (exchange instanceof Response) return exchange;
    const answer = exchange.catch((error) => instead(request, env, error));
    // A client that goes away must not freeze the exchange half way: it ends, and gives back what
    // it holds.
    ctx.waitUntil(answer);
    return answer;
  },
};

// The runtime offers storage inspection and RPC only to classes that extend its own; workers-rs classes do not.
const durable = (Class) =>
  class extends DurableObject {
    #object;
    #instance;

    #current() {
      if (this.#instance !== state.instanceId) {
        this.#object = new Class(this.ctx, this.env);
        this.#instance = state.instanceId;
      }
      return this.#object;
    }

    // Called by RPC. Returns text, or a promise of it.
    ask(text) {
      recover();
      return this.#current().ask(text);
    }

    alarm() {
      recover();
      return this.#current().alarm();
    }
  };

export const LimitCounter = durable(wasm.LimitCounter);
export const PurgeLog = durable(wasm.PurgeLog);
