"""Measures one cell: a scenario sent through one running proxy, with the checks that make its figure worth printing."""

import json
import os
import subprocess
import time
from dataclasses import dataclass

from install import BENCH
from processes import cpu_seconds

CONNECTIONS = 64
KEYS = 1000
# After the warm-up, for what is still under way in the proxy.
SETTLE_SECONDS = 0.2


class Invalid(Exception):
    """A run whose figure must not be printed, and why."""


@dataclass(frozen=True)
class Scenario:
    """What is asked of every proxy, and what must be true of the answers."""

    name: str
    title: str
    path: str
    body_bytes: int
    keys: int = 0
    origin: str = "untouched"  # or "every request"
    rejected: bool = False


SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario("hit-1k", "cache hit, 1 KiB", "/1k", 1024),
        Scenario("hit-64k", "cache hit, 64 KiB", "/64k", 65536),
        Scenario("pass-1k", "pass-through, 1 KiB", "/pass/1k", 1024, origin="every request"),
        Scenario("limit-allow", f"limit by key ({KEYS} keys), allowed + hit", "/allow/1k", 1024, keys=KEYS),
        Scenario("limit-reject", f"limit by key ({KEYS} keys), rejected 429", "/reject/1k", 1024, keys=KEYS,
                 rejected=True),
    ]
}


class Loader:
    """wrk: one thread, keep-alive connections, pinned to one core."""

    def __init__(self, wrk, core):
        self.wrk = wrk
        self.core = core

    def run(self, url, seconds, keys=0, inspect=False):
        command = [self.wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(BENCH / "conf/load.lua"), url]
        environment = dict(os.environ, BENCH_KEYS=str(keys), BENCH_INSPECT="1" if inspect else "0")
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=seconds + 30,
                                  preexec_fn=lambda: os.sched_setaffinity(0, {self.core}))
        except subprocess.TimeoutExpired as late:
            raise Invalid(f"wrk did not end {late.timeout} s after its start") from late
        for line in done.stdout.splitlines():
            if line.startswith("RESULT "):
                return json.loads(line.removeprefix("RESULT "))
        raise Invalid(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")


def measure(scenario, server, origin, loader, seconds):
    """Sends a warm-up that inspects every answer, then the measured load; returns one figure of each kind."""
    url = f"http://127.0.0.1:{server.port}{scenario.path}"
    warm_up = loader.run(url, 1, scenario.keys, inspect=True)
    _check_answers(scenario, warm_up)
    time.sleep(SETTLE_SECONDS)

    origin_before, cpu_before = requests_at(origin), cpu_seconds(server.process.pid)
    run = loader.run(url, seconds, scenario.keys)
    cpu, at_origin = cpu_seconds(server.process.pid) - cpu_before, requests_at(origin) - origin_before
    _check_run(scenario, run, at_origin)
    if cpu <= 0:
        raise Invalid("the proxy took no measurable CPU time; pass more --seconds")

    cpu_micros = cpu * 1e6 / run["requests"]
    return {
        "cpu_micros_a_request": cpu_micros,
        "requests_a_second_a_core": 1e6 / cpu_micros,
        "requests_a_second_observed": run["requests"] / run["seconds"],
        "requests": run["requests"],
        "requests_at_origin": at_origin,
    }


def _check_answers(scenario, run):
    """The warm-up parses every answer: statuses and whole bodies, under the same load as the measurement."""
    _check_sockets(run)
    good = f"200:{scenario.body_bytes}"
    others = {kind: count for kind, count in run["seen"].items() if kind != good}
    if not scenario.rejected:
        if others or not run["seen"]:
            raise Invalid(f"answers other than {good} (status:bytes): {others or 'no answer at all'}")
        return
    wrong = {kind: count for kind, count in others.items() if not kind.startswith("429:")}
    if wrong or not others:
        raise Invalid(f"answers other than 429 and {good} (status:bytes): {wrong or 'no 429'}")
    # The first request of a key is allowed; some limits round that up to two.
    if run["seen"].get(good, 0) > 2 * scenario.keys:
        raise Invalid(f"the limit let {run['seen'][good]} requests of {scenario.keys} keys pass")


def _check_run(scenario, run, at_origin):
    """The measured run only counts, so that the loader stays fast."""
    _check_sockets(run)
    requests, errors = run["requests"], run["status_errors"]
    if requests < 1000:
        raise Invalid(f"{requests} requests are too few to divide by; pass more --seconds")
    if scenario.rejected:
        if errors < 0.99 * requests:
            raise Invalid(f"only {errors} of {requests} requests were rejected")
    elif errors:
        raise Invalid(f"{errors} answers had a status of 400 or more")
    elif run["bytes"] < requests * scenario.body_bytes:
        raise Invalid(f"{run['bytes']} bytes are fewer than {requests} bodies of {scenario.body_bytes}")

    if scenario.origin == "every request":
        # When wrk stops, at most one request a connection is under way: seen by the origin, not counted by wrk.
        # That holds for the warm-up too, whose last requests may arrive after the counter was first read.
        if not requests <= at_origin <= requests + 2 * CONNECTIONS:
            raise Invalid(f"the origin saw {at_origin} requests of {requests}: something was cached or repeated")
    elif scenario.rejected:
        if at_origin > 0.01 * requests:
            raise Invalid(f"{at_origin} of {requests} requests reached the origin although they were to be rejected")
    elif at_origin:
        raise Invalid(f"{at_origin} requests reached the origin although all were to be hits")


def _check_sockets(run):
    if run["socket_errors"]:
        raise Invalid(f"{run['socket_errors']} socket errors (refused, reset or timed out)")


def requests_at(origin):
    """How many requests the origin has seen, without those of this function."""
    _, body = origin.get("/origin-status")
    # stub_status: three lines, the third of them `accepts handled requests` in numbers. It counts this request too.
    requests = int(body.split(b"\n")[2].split()[2])
    origin.status_requests = getattr(origin, "status_requests", 0) + 1
    return requests - origin.status_requests
