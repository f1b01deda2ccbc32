// A golden fixture over HTTP: its requests, its scripted origins, and what comes out, in the words of tests/src/text.rs.

import { send } from "./client.mjs";
import { startOrigin } from "./origin.mjs";

// As in tests/src/fixture.rs.
const START = 1_800_000_000_000;
const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

// Fields that say how a message was carried, not what it says.
const OF_THE_CARRIER = ["connection", "content-length", "keep-alive", "transfer-encoding"];

// Runs every exchange of a fixture in a world of its own; resolves to what came out of each.
export async function run(worker, fixture) {
  const script = [];
  const origins = await startOrigins(fixture, script);
  try {
    let policy = fixture.policy;
    for (const { name, url } of origins) policy = policy.replaceAll(`http://${name}.test`, url);
    await worker.begin(policy);
    const outcomes = [];
    for (const exchange of fixture.exchange) outcomes.push(await runExchange(worker, exchange, script));
    return outcomes;
  } finally {
    await Promise.all(origins.map((origin) => origin.close()));
  }
}

async function runExchange(worker, exchange, script) {
  const answers = exchange.origin ?? [];
  script.splice(0, script.length, ...answers);
  const response = await send(worker.url, ...request(exchange, answers));
  const reply = text(response.status, response.lines, await response.text());
  const reports = (await worker.log()).map(readReport);
  const [report, background = ""] = reports.map((r) => r ?? "");
  const unasked = script.length === 0 ? "" : `nobody asked for these answers: ${JSON.stringify(script)}`;
  return { reply, report, background, unasked, more: reports.slice(2) };
}

function request(exchange, answers) {
  const at = exchange.request.indexOf(" ");
  const [method, url] = [exchange.request.slice(0, at), exchange.request.slice(at + 1)];
  const [, host, path] = url.match(/^https?:\/\/([^/]*)(.*)$/);
  const lines = (exchange.headers ?? []).map(split);
  const add = (name, value) => lines.some(([n]) => n.toLowerCase() === name) || lines.push([name, value]);
  add("host", host);
  add("traceparent", TRACE);
  add("x-test-url", url);
  add("x-test-now", String(START + (exchange.at ?? 0)));
  add("x-test-client", exchange.client ?? "203.0.113.9");
  add("x-test-fetches", JSON.stringify(answers.map(({ after, fails }) => ({ after, hangs: fails === "timeout" }))));
  if (exchange.geo || exchange.tls_subject) add("x-test-cf", JSON.stringify(cf(exchange)));
  if (exchange.body !== undefined) add("content-length", String(Buffer.byteLength(exchange.body)));
  return [path, { method, headers: lines.flat(), body: exchange.body }];
}

// The platform gives numbers as text, except that of the network.
function cf({ geo: { latitude, longitude, ...codes } = {}, tls_subject }) {
  const text = (number) => (number === undefined ? undefined : String(number));
  const certificate = tls_subject && { certPresented: "1", certVerified: "SUCCESS", certRevoked: "0", certSubjectDNRFC2253: tls_subject };
  return { ...codes, latitude: text(latitude), longitude: text(longitude), tlsClientAuth: certificate };
}

async function startOrigins(fixture, script) {
  const names = [...new Set([...fixture.policy.matchAll(/http:\/\/([a-z0-9-]+)\.test/g)].map((match) => match[1]))];
  return Promise.all(names.map(async (name) => ({ name, ...(await startOrigin((req, res) => answer(name, script, req, res))) })));
}

function answer(name, script, request, response) {
  const next = script.shift();
  if (next === undefined || next.name !== name) {
    response.writeHead(599, { "x-wrong": `origin ${name} was asked, the script says ${next?.name ?? "nobody"}` });
    return response.end();
  }
  switch (next.fails) {
    case "timeout":
      return;
    case "closed":
      return request.socket.destroy();
    case "unreachable":
      // What Cloudflare gives a Worker then.
      return response.writeHead(523).end();
  }
  response.sendDate = false;
  // On a connection that was used before, workerd would send a lost request again by itself.
  response.shouldKeepAlive = false;
  response.writeHead(next.status ?? 200, (next.headers ?? []).map(split).flat());
  response.end(next.body ?? "");
}

function split(line) {
  const colon = line.indexOf(":");
  return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
}

// A reply as tests/src/text.rs writes it.
function text(status, lines, body) {
  const fields = new Map();
  for (const [name, value] of lines) {
    if (OF_THE_CARRIER.includes(name)) continue;
    const values = fields.get(name) ?? [];
    fields.set(name, [...values, value]);
  }
  let written = `${status}\n`;
  for (const name of [...fields.keys()].sort()) {
    const values = fields.get(name);
    for (const line of name === "set-cookie" ? values : [values.join(", ")]) written += `${name}: ${line}\n`;
  }
  return `${written}\n${body}`;
}

function readReport(line) {
  try {
    return JSON.parse(line);
  } catch {
    return line;
  }
}
