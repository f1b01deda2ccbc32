// A plain HTTP/1.1 client: no redirects followed, no encodings asked for or undone, every header line kept.

import { request } from "node:http";

// Sends one request and resolves at the head of its answer. `body` may be a string, a buffer or a readable stream.
export function send(base, path, { method = "GET", headers = {}, body, timeout = 5000 } = {}) {
  return new Promise((resolve, reject) => {
    const url = new URL(base);
    const outgoing = request({ host: url.hostname, port: url.port, path, method, headers, agent: false, timeout });
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer to ${method} ${path} within ${timeout} ms`)));
    outgoing.on("error", reject);
    outgoing.on("response", (response) => resolve(answer(response)));
    if (typeof body?.pipe === "function") body.pipe(outgoing);
    else outgoing.end(body);
  });
}

function answer(response) {
  const lines = [];
  for (let i = 0; i < response.rawHeaders.length; i += 2) {
    lines.push([response.rawHeaders[i].toLowerCase(), response.rawHeaders[i + 1]]);
  }
  const all = (name) => lines.filter(([line]) => line === name).map(([, value]) => value);
  return {
    status: response.statusCode,
    lines,
    all,
    header: (name) => all(name)[0] ?? null,
    // The chunks, as they arrive.
    chunks: response[Symbol.asyncIterator](),
    async text() {
      const parts = [];
      for await (const part of response) parts.push(part);
      return Buffer.concat(parts).toString();
    },
  };
}
