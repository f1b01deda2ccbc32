"""Real servers of Redis: one, or a cluster of three masters with a replica each."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from install import debian
from peers import StartFailed, free_port

READY_SECONDS = 60
# A cluster's nodes talk to each other on a port that is higher by 10,000.
PORT_MAX = 55_000

CLUSTER = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0",
           "--repl-diskless-sync-delay", "0"]


class Redis:
    """A running server that keeps nothing on disk."""

    def __init__(self, directory, arguments=(), core=None):
        self.port = _low_port()
        self.cli = debian("redis-cli", "redis-server", "redis-tools")
        self._directory = tempfile.mkdtemp(prefix="redis-", dir=directory)
        self._calls = 0
        self.process = subprocess.Popen(
            [debian("redis-server", "redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "no", "--dir", self._directory, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}))

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def say(self, *commands):
        """What commands are answered, each in lines; nothing if nobody answers."""
        done = subprocess.run([self.cli, "-p", str(self.port)], input="\n".join(commands), capture_output=True,
                              text=True, timeout=30)
        return done.stdout

    def until_it_says(self, command, text):
        deadline = time.monotonic() + READY_SECONDS
        while text not in self.say(command):
            if time.monotonic() > deadline:
                raise StartFailed(f"Redis did not answer {command} with {text} in {READY_SECONDS} s")
            time.sleep(0.05)

    def questions(self):
        """How many times the counters' script was run here, as far as this was asked before the server's end."""
        if self.process.poll() is None:
            lines = self.say("INFO commandstats").splitlines()
            of_scripts = [line for line in lines if line.startswith(("cmdstat_evalsha:", "cmdstat_eval:"))]
            self._calls = sum(int(line.partition("calls=")[2].partition(",")[0]) for line in of_scripts)
        return self._calls

    def counters(self):
        """The states of all counters here, by name."""
        names = self.say("KEYS tidegate:*").split()
        states = self.say(*[f'GET "{name}"' for name in names]).splitlines() if names else []
        return dict(zip(names, states))

    def is_master(self):
        return self.process.poll() is None and "role:master" in self.say("INFO replication")

    def kill(self):
        """Ends it as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)


class Cluster:
    """Three masters, and a replica for each."""

    def __init__(self, directory):
        self.servers = []
        try:
            self._start(directory)
        except BaseException:
            self.stop()
            raise

    def _start(self, directory):
        for _ in range(6):
            self.servers.append(Redis(directory, CLUSTER))
        for server in self.servers:
            server.until_it_says("PING", "PONG")
        cli = self.servers[0].cli
        addresses = [server.address for server in self.servers]
        made = subprocess.run([cli, "--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=READY_SECONDS)
        if made.returncode != 0:
            raise StartFailed(f"no cluster was made: {made.stdout[-300:]} {made.stderr[-300:]}")
        for server in self.servers:
            server.until_it_says("CLUSTER INFO", "cluster_state:ok")
        deadline = time.monotonic() + READY_SECONDS
        while len(self._replicas_that_follow()) < 3:
            if time.monotonic() > deadline:
                said = [server.say("INFO replication").split("\r\n")[1:6] for server in self.servers]
                raise StartFailed(f"three replicas did not follow their masters in {READY_SECONDS} s: {said}")
            time.sleep(0.05)

    def _replicas_that_follow(self):
        follows = "master_link_status:up"
        return [server for server in self.servers if follows in server.say("INFO replication")]

    def masters(self):
        return [server for server in self.servers if server.is_master()]

    def questions(self):
        return sum(server.questions() for server in self.servers)

    def kill_a_busy_master(self):
        """Has the master that holds most counters end while the load goes on."""
        threading.Thread(target=self._kill_a_busy_master).start()

    def _kill_a_busy_master(self):
        self.questions()
        busiest = max(self.masters(), key=lambda server: len(server.say("KEYS tidegate:*").split()))
        busiest.kill()

    def charged(self):
        """What all counters say was used of budgets."""
        states = [state for server in self.masters() for state in server.counters().values()]
        return sum(int(state.split(" ")[2]) for state in states)

    def stop(self):
        for server in self.servers:
            server.stop()


def _low_port():
    """A port that leaves room for the one on which a cluster's nodes talk."""
    port = free_port()
    while port >= PORT_MAX:
        port = free_port()
    return port
