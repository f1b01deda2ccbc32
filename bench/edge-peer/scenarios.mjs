// What is asked, and what must happen.

let fresh = 0;

// Where there is state, a first request makes it: what is stored, or a spent quota.
export const SCENARIOS = {
  hit: {
    title: "cache hit",
    path: () => "/hit/1k",
    status: 200,
    hasState: true,
    reachesOrigin: false,
  },
  limit: {
    title: "limit, allowed + hit",
    path: () => "/allow/1k",
    status: 200,
    hasState: true,
    reachesOrigin: false,
  },
  reject: {
    title: "limit, rejected 429",
    path: () => "/reject/1k",
    status: 429,
    hasState: true,
    reachesOrigin: false,
  },
  pass: {
    title: "pass-through",
    path: () => "/pass/1k",
    status: 200,
    hasState: false,
    reachesOrigin: true,
  },
  miss: {
    title: "miss and store",
    path: () => `/hit/${fresh++}`,
    status: 200,
    hasState: false,
    reachesOrigin: true,
  },
  none: {
    title: "no route",
    path: () => "/none",
    status: 404,
    hasState: false,
    reachesOrigin: false,
  },
};

for (const scenario of Object.values(SCENARIOS)) scenario.headers = { "x-user": "bench" };
