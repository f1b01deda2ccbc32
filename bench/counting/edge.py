"""The Worker under workerd, with Durable Objects: what it admits of the same quotas."""

import contextlib
import json
import shutil
import subprocess

from install import BENCH, WORKSPACE, Missing, say
from peers import StartFailed

from .exact import limit
from .pace import Rate, go
from .quota import use_up

RATE = 400
USERS = {"one caller": (1, 3000), "50 callers": (50, 60)}
LEASED = Rate(a_minute=6000, burst=300, lease_max=50)
SECONDS = 15
# workerd runs one isolate of the Worker on one machine.
ISOLATES = 1


def build():
    """Builds the Worker and what compiles its policy."""
    if not shutil.which("cargo") or not shutil.which("node"):
        raise Missing("the Worker needs cargo, node and `npm ci`")
    for command in ("build-worker", "build-js"):
        say(f"cargo xtask {command}")
        done = subprocess.run(["cargo", "xtask", command], cwd=WORKSPACE, capture_output=True, text=True)
        if done.returncode != 0:
            raise Missing(f"cargo xtask {command} failed: {done.stderr.strip()[-300:]}")


def run_exact(bench, callers):
    users, each = USERS[callers]
    with worker(bench, limit(each)) as port:
        return use_up([port], users, each, RATE)


def run_leased(bench):
    with worker(bench, LEASED.limit()) as port:
        return go([port], LEASED, ISOLATES, SECONDS, RATE)


@contextlib.contextmanager
def worker(bench, limit_text):
    """Starts the Worker with one limit; gives its port."""
    text = (BENCH / "conf/limits.toml").read_text()
    text = text.replace("@LIMIT@", limit_text).replace("@COUNTERS@", "").replace("@ORIGIN_PORT@", str(bench.origin.port))
    text = text.replace("@PROXY_PORT@", "8080")
    process = subprocess.Popen(["node", str(BENCH / "counting/edge.mjs")], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        process.stdin.write(json.dumps(text) + "\n")
        process.stdin.flush()
        port = process.stdout.readline().strip()
        if not port:
            process.stdin.close()
            raise StartFailed(f"the Worker did not start: {process.stderr.read()[-500:]}")
        yield int(port)
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
