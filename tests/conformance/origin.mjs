// The suite's origin server, on loopback: its own program would listen on every interface.

import handleConfig from "http-cache-tests/server/handle-config.mjs";
import handleState from "http-cache-tests/server/handle-state.mjs";
import handleTest from "http-cache-tests/server/handle-test.mjs";
import { stash } from "http-cache-tests/server/utils.mjs";
import { startOrigin } from "../edge/origin.mjs";

const HANDLERS = { config: handleConfig, state: handleState, test: handleTest };

export function startSuiteOrigin() {
  return startOrigin((request, response) => {
    const [, folder, ...rest] = new URL(request.url, "http://origin").pathname.split("/");
    const handler = HANDLERS[folder];
    // Nothing of that test has come this far. The suite's client knows what that means; the suite's handler would print a warning.
    if (folder === "state" && !stash.has(rest[0])) response.writeHead(404).end();
    else if (handler) handler(rest, request, response);
    // To whoever looks whether the origin can be reached.
    else response.writeHead(204).end();
  });
}
