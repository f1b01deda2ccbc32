// Signatures of tokens are verified by the platform, and the issuer's keys are fetched. Imported by the wasm module.

const ALGORITHMS = {
  HS256: { name: "HMAC", hash: "SHA-256" },
  RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  ES256: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  EdDSA: { name: "Ed25519" },
};

// To import a key takes longer than to verify by it. Keys are no part of a request, so they may be kept.
const IMPORTED_MAX = 64;
const imported = new Map();

// Resolves to whether the key has signed the input. A key of RSA is modulus and exponent; every other one is `first` alone.
export async function verify(algorithm, first, second, input, signature) {
  // What lies in the module's memory may be something else after a wait.
  const [signed, shown] = [input.slice(), signature.slice()];
  const id = `${algorithm} ${base64url(first)} ${base64url(second)}`;
  let key = imported.get(id);
  if (key === undefined) {
    key = await importKey(ALGORITHMS[algorithm], first, second);
    if (imported.size >= IMPORTED_MAX) imported.clear();
    imported.set(id, key);
  }
  return crypto.subtle.verify(ALGORITHMS[algorithm], key, shown, signed);
}

function importKey(algorithm, first, second) {
  if (second.length === 0) return crypto.subtle.importKey("raw", first.slice(), algorithm, false, ["verify"]);
  const jwk = { kty: "RSA", n: base64url(first), e: base64url(second) };
  return crypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"]);
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// Resolves to the status, Cache-Control and the body, a line for each of the first two.
export async function fetchKeys(url, bytesMax, millis) {
  const response = await fetch(url, {
    headers: { accept: "application/json", "user-agent": "tidegate" },
    redirect: "manual",
    signal: AbortSignal.timeout(millis),
    // The platform's own cache keeps out: the core decides how long keys are new.
    cf: { cacheTtlByStatus: { "100-599": -1 } },
  });
  const { status, headers, body } = response;
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) throw new Error(`the answer has more than ${bytesMax} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return `${status}\n${headers.get("cache-control") ?? ""}\n${text}`;
}
