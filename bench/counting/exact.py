"""Exact limits in four pods and a cluster, while a master is killed."""

from .nodes import counters_in, proxies
from .quota import use_up
from .redis import Cluster

RATE = 2500
USERS = {"one caller": (1, 20_000), "200 callers": (200, 100)}


def limit(each):
    return f'kind = "budget"\nquota = "{each}/week"\nkey = ["header:x-user"]\nmode = "exact"\non_store_error = "deny"'


def run(bench, callers, kills, shares=(0, 1, 2, 3)):
    """Uses up a quota through four pods at once, which have these shares of the connections; returns what was seen."""
    users, each = USERS[callers]
    cluster = Cluster(bench.directory)
    try:
        addresses = [server.address for server in cluster.servers]
        values = {"COUNTERS": counters_in("cluster", addresses), "LIMIT": limit(each)}
        with proxies(bench, "tidegate", values) as pods:
            ports = [pods[number].port for number in shares]
            used = use_up(ports, users, each, RATE, cluster.kill_a_busy_master if kills else None)
        used.charged, used.questions = cluster.charged(), cluster.questions()
        return used
    finally:
        cluster.stop()
