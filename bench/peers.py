"""The proxies that are compared, and the origin: how each is started, awaited and ended."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import install
from install import BENCH
from processes import process_tree

READY_SECONDS = 20


class StartFailed(Exception):
    """A program that did not answer in time; carries the end of its log."""


@dataclass(frozen=True)
class Peer:
    """One proxy: its configuration template, and the command that runs it in the foreground with one worker."""

    name: str
    template: str
    find: Callable[[], str]
    command: Callable[[str, str, "Server"], list]
    note: str = ""


def _varnish(binary, conf, server):
    return [binary, "-F", "-a", f"127.0.0.1:{server.port}", "-f", conf, "-n", f"{server.directory}/varnish",
            "-s", "malloc,256m", "-p", "thread_pools=1",
            # As everywhere else: an idle connection is not closed in the middle of a run.
            "-p", "timeout_idle=3600", "-p", "backend_idle_timeout=3600"]


PEERS = {
    peer.name: peer
    for peer in [
        Peer("tidegate", "tidegate.toml", install.tidegate,
             lambda binary, conf, server: [binary, "serve", "--policy", conf]),
        Peer("nginx", "nginx.conf", lambda: install.debian("nginx", "nginx"),
             lambda binary, conf, server: [binary, "-e", "stderr", "-c", conf],
             "a hit is sent from a file on tmpfs with sendfile; the smallest quota is one request a minute"),
        Peer("haproxy", "haproxy.cfg", lambda: install.debian("haproxy", "haproxy"),
             lambda binary, conf, server: [binary, "-db", "-f", conf],
             "limits are a stick-table with a sliding rate per key"),
        Peer("varnish", "varnish.vcl", lambda: install.debian("varnishd", "varnish", "varnish-modules"), _varnish,
             "one thread a request, in one pool (there is no single worker); it always writes its log to shared memory"),
        Peer("envoy", "envoy.yaml", install.envoy,
             lambda binary, conf, server: [binary, "-c", conf, "--concurrency", "1", "--disable-hot-restart",
                                           "--log-level", "error"],
             "the cache is the in-memory one; limits are local, with one token bucket per key (dynamic descriptors)"),
    ]
}


def another_tidegate(binary):
    """Another build of Tidegate, to compare with."""
    # Servers run in a directory of their own.
    binary = str(Path(binary).resolve())
    return Peer("before", "tidegate.toml", lambda: binary, PEERS["tidegate"].command)


ORIGIN = Peer("origin", "origin.conf", lambda: install.debian("nginx", "nginx"),
              lambda binary, conf, server: [binary, "-e", "stderr", "-c", conf])


def make_documents(directory):
    """Writes what the origin serves."""
    for path in ("www", "www/pass", "www/allow", "www/reject"):
        Path(directory, path).mkdir()
        Path(directory, path, "1k").write_bytes(b"x" * 1024)
        Path(directory, path, "64k").write_bytes(b"x" * 65536)


class Server:
    """A running peer or origin, pinned to one core. `values` fill in what else a template asks for."""

    def __init__(self, peer, binary, directory, core, origin=None, values=None):
        self.peer = peer
        self.directory = directory
        self.port = free_port()
        self.conf = self._render(origin, values or {})
        self._log = Path(directory, f"{peer.name}.out")
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                peer.command(binary, self.conf, self), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory,
                # A session of its own: Ctrl-C reaches the bench alone, which then ends its servers in order.
                start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}))

    def wait_until_ready(self, path):
        """Asks for a path until it answers 200."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise StartFailed(f"{self.peer.name} ended at start: {self._end_of_log()}")
            try:
                if self.get(path)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        raise StartFailed(f"{self.peer.name} did not answer {path} in {READY_SECONDS} s: {self._end_of_log()}")

    def get(self, path):
        """Status and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path, headers={"x-user": "bench"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def stop(self):
        """Ends the process that was started here; it ends its own children, unless it hangs."""
        family = process_tree(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def _render(self, origin, values):
        text = (BENCH / "conf" / self.peer.template).read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        text = text.replace("@DIR@", str(self.directory))
        if origin is None:
            text = text.replace("@ORIGIN_PORT@", str(self.port))
        else:
            text = text.replace("@PROXY_PORT@", str(self.port)).replace("@ORIGIN_PORT@", str(origin.port))
        path = Path(self.directory, f"{self.peer.name}-{self.peer.template}")
        path.write_text(text)
        return str(path)

    def _end_of_log(self):
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-4:]) or "it printed nothing"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
