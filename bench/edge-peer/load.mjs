// The client: requests one after the other on a kept-alive connection.

import { Agent, request } from "node:http";

const agent = new Agent({ keepAlive: true, maxSockets: 1 });

// Sends a GET and resolves to status, fields and the body's length when all of the answer is there.
export function send(port, path, headers) {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port, path, headers, agent });
    outgoing.on("error", reject);
    outgoing.on("response", (response) => {
      let length = 0;
      response.on("data", (chunk) => (length += chunk.length));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode, headers: response.headers, length }),
      );
    });
    outgoing.end();
  });
}

export function close() {
  agent.destroy();
}
