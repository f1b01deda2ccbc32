// The Worker in a world that a test controls: a test-only entry around the built module.
//
// x-test-now      on a request: the time, milliseconds since the epoch
// x-test-client   on a request: the client's address
// x-test-cf       on a request: what `request.cf` holds, JSON
// x-test-trap     on a request: the wasm instance fails as by a trap when it next asks for the time
// x-test-elapsed  on an origin's response: how long it took, milliseconds
// GET /.test/log  answers the lines logged since it was last asked, as a JSON array
//
// Time stands still, except that waiting and an origin's answer move it. None of these names reaches the product.

import worker, { LimitCounter } from "../../workers/build/dist/worker.js";

let now = 0;
let trap = false;
const lines = [];

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

const realFetch = globalThis.fetch;
globalThis.fetch = async (...args) => {
  const response = await realFetch(...args);
  const elapsed = response.headers.get("x-test-elapsed");
  if (elapsed === null) return response;
  now += Number(elapsed);
  const head = new Headers(response.headers);
  head.delete("x-test-elapsed");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers: head, encodeBody: "manual" });
};

const realSetTimeout = globalThis.setTimeout;
globalThis.setTimeout = (callback, delay = 0, ...args) =>
  realSetTimeout(() => {
    now += delay;
    callback(...args);
  }, 0);

const realLog = console.log;
console.log = (...args) => {
  lines.push(args.join(" "));
  realLog(...args);
};

export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/.test/log") return Response.json(lines.splice(0));
    const headers = new Headers(request.headers);
    const time = headers.get("x-test-now");
    const client = headers.get("x-test-client");
    if (headers.has("x-test-trap")) trap = true;
    const cf = headers.get("x-test-cf");
    for (const name of ["x-test-now", "x-test-client", "x-test-cf", "x-test-trap"]) headers.delete(name);
    if (time !== null) now = Number(time);
    if (client !== null) headers.set("cf-connecting-ip", client);
    return worker.fetch(new Request(request, { headers, cf: cf === null ? undefined : JSON.parse(cf) }), env, ctx);
  },
};

export { LimitCounter };
