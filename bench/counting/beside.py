"""The nearest that nginx and Envoy have to a quota for several processes: a share of it in each of them."""

from . import exact
from .nodes import NODES, proxies
from .quota import use_up

QUOTA = 20_000
PEERS = ["nginx", "envoy"]

# How often each process comes in the list of connections.
SPREADS = {"evenly": [0, 1, 2, 3], "seven of ten to one process": [0, 0, 0, 0, 0, 0, 0, 1, 2, 3]}
SHARES = {"a quarter of the quota in each": NODES, "the whole quota in each": 1}

# What is run: how an uneven load fares with the whole quota in each is clear, and takes long.
CASES = [(share, spread) for share in SHARES for spread in SPREADS if SHARES[share] == NODES or spread == "evenly"]


def run_tidegate(bench, spread):
    """The same with an exact limit."""
    return exact.run(bench, "one caller", False, SPREADS[spread])


def run(bench, name, share, spread):
    """Uses up a quota through four processes; returns what was seen."""
    own = QUOTA // SHARES[share]
    # nginx admits one request and its burst.
    values = {"QUOTA": str(own), "BURST": str(own - 1)}
    with proxies(bench, name, values) as servers:
        ports = [servers[number].port for number in SPREADS[spread]]
        return use_up(ports, 1, QUOTA, exact.RATE)
