"""Leased limits in four pods and a cluster, with and without a master that is killed."""

import subprocess

from .nodes import NODES, counters_in, proxies
from .pace import Rate, go
from .redis import Cluster

SECONDS = 15
A_SECOND = 1000

RATES = {
    "ten times as much is asked for as there is": Rate(a_minute=6000, burst=300, lease_max=50),
    "two thirds of what there is are asked for": Rate(a_minute=90_000, burst=1500, lease_max=500),
}


def run(bench, demand, kills):
    """Asks four pods at once for a rate; returns what was seen."""
    rate = RATES[demand]
    cluster = Cluster(bench.directory)
    try:
        addresses = [server.address for server in cluster.servers]
        values = {"COUNTERS": counters_in("cluster", addresses), "LIMIT": rate.limit()}
        with proxies(bench, "tidegate", values) as pods:
            ports = [pod.port for pod in pods]
            kill = cluster.kill_a_busy_master if kills else None
            passed = go(ports, rate, NODES, SECONDS, A_SECOND, kill)
            passed.questions = cluster.questions()
            passed.note = _note_of_check(bench.tidegate, pods[0].conf)
        return passed
    finally:
        cluster.stop()


def _note_of_check(binary, policy):
    """What `tidegate check` says of a leased limit."""
    done = subprocess.run([binary, "check", policy], capture_output=True, text=True)
    notes = [line for line in (done.stdout + done.stderr).splitlines() if "limits.proof.mode" in line]
    return notes[0].partition(": ")[2] if notes else "nothing"
