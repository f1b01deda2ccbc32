// The platform's cache. Imported by the wasm module.

// It holds nothing of a request: all of them may use it.
let cache;

async function open() {
  cache = await caches.open("tidegate");
  return cache;
}

function opened(use) {
  return cache === undefined ? open().then(use) : use(cache);
}

export function find(url) {
  return opened((cache) => cache.match(url));
}

export function put(url, response) {
  return opened((cache) => cache.put(url, response));
}

export function drop(url) {
  return opened((cache) => cache.delete(url));
}

// The fields of an entry that hold heads: a line each, in order.
export function heads({ headers }, most) {
  let text = "";
  for (let at = 0; at < most; at++) {
    const head = headers.get(`tidegate-${at}`);
    if (head === null) break;
    text += `${head}\n`;
    // It says that its body is the entry's own: then it is the only one.
    if (head.startsWith("- ")) break;
  }
  return text;
}
