// A toy origin on loopback whose answers a test scripts.

import { createServer } from "node:http";

// Starts an origin; `handler(request, response)` answers. Resolves to its URL and a way to close it.
export async function startOrigin(handler) {
  const server = createServer(handler);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    server,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
