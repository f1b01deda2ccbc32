// Heads of messages go over as one text of lines: what is called costs, and crossing little.
// Imported by the wasm module.

// Method, URL, whether there is a body, seven lines of what `cf` says of the client, then names and values of the fields.
export function describeRequest(request) {
  const { method, url, body } = request;
  const { country, continent, latitude, longitude, httpProtocol, asn, tlsClientAuth } = request.cf ?? {};
  const members = [country, continent, latitude, longitude, httpProtocol, asn?.toString(), subject(tlsClientAuth)];
  const client = members.map(line).join("\n");
  return `${method}\n${url}\n${body === null ? "" : "body"}\n${client}\n${fields(request.headers)}`;
}

// Whom the client's certificate names, behind a `=`, if the platform has verified it; it may name nobody.
function subject(certificate) {
  const { certVerified, certRevoked, certSubjectDNRFC2253 } = certificate ?? {};
  return certVerified === "SUCCESS" && certRevoked !== "1" && typeof certSubjectDNRFC2253 === "string" ? `=${certSubjectDNRFC2253}` : undefined;
}

// The platform gives strings; nothing else is used.
function line(member) {
  return typeof member === "string" && !member.includes("\n") ? member : "";
}

// The status, then names and values of the fields.
export function describeResponse({ status, headers }) {
  return `${status}\n${fields(headers)}`;
}

// Names and values in turn, a line each. Every Set-Cookie line is a field of its own.
export function fields(headers) {
  let text = "";
  headers.forEach((value, name) => {
    text += `${name}\n${value}\n`;
  });
  return text;
}

// To append costs a third of what a list of pairs costs.
function headersOf(text) {
  const lines = text.split("\n");
  const headers = new Headers();
  for (let at = 0; at + 1 < lines.length; at += 2) headers.append(lines[at], lines[at + 1]);
  return headers;
}

// Bodies go out as they are, in whatever encoding the fields name.
export function respond(status, text, body) {
  return new Response(body, { status, headers: headersOf(text), encodeBody: "manual" });
}

// The connection of an origin that changed protocols.
export function switchProtocols(status, text, { webSocket }) {
  return new Response(null, { status, headers: headersOf(text), webSocket });
}

// The platform's own cache keeps out: the core decides what is stored.
const UNCACHED = { cacheTtlByStatus: { "100-599": -1 } };

// Encoded bodies stay encoded, byte for byte.
export function send(url, method, text, body, abort) {
  return fetch(url, {
    method,
    headers: headersOf(text),
    body,
    redirect: "manual",
    signal: abort.signal,
    encodeResponseBody: "manual",
    cf: UNCACHED,
  });
}
