"""How much longer an answer takes if its limit is counted in Redis: three proxies in turn, which differ in this alone."""

import contextlib
import gc
import os

from load import Load, Unexpected, quantile, request

from .nodes import COUNTED, counters_in, proxies
from .redis import Redis

RATE = 1000
SECONDS = 3
CONNECTIONS = 16
MODES = ["local", "exact", "leased"]
QUANTILES = {"p50": 0.5, "p99": 0.99}


class Speed:
    """Milliseconds of all rounds by mode and quantile, and questions for each request."""

    def __init__(self):
        self.rounds = {mode: {name: [] for name in QUANTILES} for mode in MODES}
        self.questions = {mode: 0 for mode in MODES}
        self.requests = {mode: 0 for mode in MODES}

    def add(self, mode, took, questions):
        for name, share in QUANTILES.items():
            self.rounds[mode][name].append(quantile(took, share))
        self.questions[mode] += questions
        self.requests[mode] += len(took)

    def added(self, mode, name):
        """What is added to the same quantile of `local` in each round."""
        pairs = zip(self.rounds[mode][name], self.rounds["local"][name])
        return [own - other for own, other in pairs]


def limit(mode):
    return f'quota = "1000000/sec"\nkey = ["header:x-user"]\nmode = "{mode}"'


def run(bench, rounds, say):
    """Measures all modes in turn, each round beginning with another one."""
    proxy_core, loader_core = bench.cores
    redis = Redis(bench.directory, core=loader_core)
    with contextlib.ExitStack() as stack:
        stack.callback(redis.stop)
        redis.until_it_says("PING", "PONG")
        ports = {}
        for mode in MODES:
            values = {"COUNTERS": counters_in("redis", [redis.address]), "LIMIT": limit(mode)}
            servers = stack.enter_context(proxies(bench, "tidegate", values, count=1, cores=[proxy_core]))
            ports[mode] = servers[0].port
        # The loader and the origin share a core, as in bench/run.
        stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, {loader_core})
        speed = Speed()
        # The first round makes connections and warms everything up, and does not count.
        for number in range(rounds + 1):
            say(f"speed, round {number} of {rounds}")
            turn = number % len(MODES)
            for mode in MODES[turn:] + MODES[:turn]:
                before = redis.questions()
                took = load(ports[mode])
                if number > 0:
                    speed.add(mode, took, redis.questions() - before)
        return speed


def load(port):
    """Milliseconds that each answer took."""
    gc.disable()
    try:
        answers = Load([port] * CONNECTIONS, [request(COUNTED)], RATE).run(SECONDS)
    finally:
        gc.enable()
    if wrong := [answer.status for answer in answers if answer.status != 200]:
        raise Unexpected(f"{len(wrong)} answers were not 200, such as {wrong[0]}")
    return [(answer.ended - answer.sent) * 1000 for answer in answers]
