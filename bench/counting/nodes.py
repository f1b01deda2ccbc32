"""Four processes of one proxy that count together, or each for itself."""

import contextlib
import itertools
from dataclasses import replace

import install
from peers import ORIGIN, PEERS, Server, make_documents

NODES = 4
# Nothing is counted here, so it says whether a proxy is ready.
READY = "/1k"
COUNTED = "/pass/1k"

TEMPLATES = {"tidegate": "limits.toml", "nginx": "limits-nginx.conf", "envoy": "limits-envoy.yaml"}

# The timeout is far more than a question takes, so that a machine with much else to do is not taken for a lost store; and
# less than a failover takes (some four seconds), which no request should be made to wait for.
TIMEOUT = "1s"


def counters_in(store, addresses):
    """The text of `[counters]`."""
    quoted = ", ".join(f'"{address}"' for address in addresses)
    return f'store = "{store}"\naddresses = [{quoted}]\ntimeout = "{TIMEOUT}"\nnodes = {NODES}'


class Bench:
    """What all scenarios have in common: where files go, the cores, the origin, and Tidegate's binary."""

    def __init__(self, directory, cores, build):
        self.directory, self.cores = directory, cores
        make_documents(directory)
        self.tidegate = install.tidegate(build)
        self.origin = Server(ORIGIN, ORIGIN.find(), directory, cores[-1])
        self.origin.wait_until_ready(READY)
        self._names = itertools.count()

    def name_of_another(self, peer):
        """No two processes have a file in common: Tidegate would follow the other one's policy."""
        return f"{peer}-{next(self._names)}"

    def stop(self):
        self.origin.stop()


@contextlib.contextmanager
def proxies(bench, name, values, count=NODES, cores=None):
    """Starts so many processes of a peer with their own ports, and ends them."""
    binary = bench.tidegate if name == "tidegate" else PEERS[name].find()
    cores = cores or bench.cores
    servers = []
    try:
        for number in range(count):
            own_name = bench.name_of_another(name)
            peer = replace(PEERS[name], name=own_name, template=TEMPLATES[name])
            own_values = {**values, "NAME": own_name}
            core = cores[number % len(cores)]
            servers.append(Server(peer, binary, bench.directory, core, bench.origin, own_values))
        for server in servers:
            server.wait_until_ready(READY)
        yield servers
    finally:
        for server in servers:
            server.stop()
