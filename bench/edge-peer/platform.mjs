// What bare workerd leaves to others, on loopback: the Cache API's store, the KV namespace with the
// policy, and the origin.

import { createServer } from "node:http";

// Most entries of a store; those that were not asked for the longest go.
const ENTRIES_MAX = 2000;

export function listen(handler) {
  // workerd asks the cache's store by whole URLs, without a Host field.
  const server = createServer({ requireHostHeader: false, keepAliveTimeout: 600_000 }, handler);
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve({ port: server.address().port, server }));
  });
}

// The service that `cacheApiOutbound` names. workerd asks with GET and `only-if-cached`; it stores
// with PUT, whose body is the response with its head as HTTP/1.1 writes it, and drops with PURGE.
// 504 says that there is nothing.
export function cacheStore() {
  const entries = new Map();
  return (request, response) => {
    const name = `${request.headers["cf-cache-namespace"] ?? ""} ${request.url}`;
    switch (request.method) {
      case "GET":
        return found(use(entries, name, entries.get(name)), response);
      case "PUT":
        return read(request, (bytes) => {
          use(entries, name, bytes);
          response.writeHead(204).end();
        });
      case "PURGE":
        return response.writeHead(entries.delete(name) ? 200 : 404).end();
      default:
        return response.writeHead(405).end();
    }
  };
}

// Makes an entry, where there is one, the last to go.
function use(entries, name, bytes) {
  if (bytes === undefined) return undefined;
  entries.delete(name);
  if (entries.size >= ENTRIES_MAX) entries.delete(entries.keys().next().value);
  entries.set(name, bytes);
  return bytes;
}

function found(bytes, response) {
  if (bytes === undefined) return response.writeHead(504, { "cf-cache-status": "MISS" }).end();
  const end = bytes.indexOf("\r\n\r\n");
  const [, ...lines] = bytes.toString("latin1", 0, end).split("\r\n");
  const fields = lines.flatMap((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  response.writeHead(200, [...fields, "cf-cache-status", "HIT"]);
  response.end(bytes.subarray(end + 4));
}

// The service behind the binding POLICY. It has one key.
export function policyStore(policy) {
  return (request, response) => {
    if (request.method === "PUT") return read(request, () => response.writeHead(200).end());
    const { pathname } = new URL(request.url, "http://kv");
    if (pathname === "/policy") response.end(policy);
    else response.writeHead(404).end();
  };
}

const BODY = Buffer.alloc(1024, "x");

// Answers everything with 1 KiB, and counts.
export function origin() {
  const seen = { requests: 0 };
  const handler = (request, response) => {
    seen.requests++;
    request.resume();
    response.writeHead(200, {
      "content-type": "text/plain",
      "content-length": BODY.length,
      "cache-control": request.url.startsWith("/pass/") ? "no-store" : "public, max-age=3600",
      etag: '"1"',
    });
    response.end(BODY);
  };
  return { seen, handler };
}

function read(request, then) {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => then(Buffer.concat(chunks)));
}
