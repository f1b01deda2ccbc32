"""A rate that is asked for at a steady pace: how much of it is admitted, in all and in any time."""

from collections import Counter
from dataclasses import dataclass

from load import Load, request

from .nodes import COUNTED

CONNECTIONS = 64
# So many beginnings are looked at, of all times in which something passed.
BEGINNINGS = 1000


@dataclass(frozen=True)
class Rate:
    """A leased limit."""

    a_minute: int
    burst: int
    lease_max: int

    @property
    def a_second(self):
        return self.a_minute / 60

    def limit(self):
        return (f'quota = "{self.a_minute}/min"\nburst = {self.burst}\nkey = []\nmode = "leased"\n'
                f'lease_max = {self.lease_max}\non_store_error = "deny"')

    def bound(self, seconds, nodes):
        """Most that may pass in so many seconds."""
        return self.burst + seconds * self.a_second + nodes * self.lease_max


@dataclass
class Passed:
    """What passed, and when: pairs of when a request was sent and its answer had come, in the order of the answers.

    Somewhere between the two it was decided, so a time begins with a sending and ends with an answer.
    """

    rate: Rate
    nodes: int
    statuses: Counter
    times: list
    questions: int = 0
    # What `tidegate check` says of the limit.
    note: str = ""

    @property
    def requests(self):
        return sum(self.statuses.values())

    @property
    def bound(self):
        """Most that may pass in the time in which these did."""
        seconds = self.times[-1][1] - min(sent for sent, _ in self.times)
        return self.rate.bound(seconds, self.nodes)

    @property
    def at_once(self):
        """Most that has passed in any time beyond what the rate earns in it: burst and leases at most."""
        most = 0.0
        step = max(1, len(self.times) // BEGINNINGS)
        for begin in sorted(sent for sent, _ in self.times)[::step]:
            passed = 0
            for sent, ended in self.times:
                if sent >= begin:
                    passed += 1
                    most = max(most, passed - (ended - begin) * self.rate.a_second)
        return most

    @property
    def at_once_bound(self):
        return self.rate.burst + self.nodes * self.rate.lease_max


def go(ports, rate, nodes, seconds, a_second, at_third=None):
    """Asks so many times a second; `at_third` is done when a third of the time is over."""
    watch = _Watch(seconds / 3, at_third)
    connections = [ports[number % len(ports)] for number in range(CONNECTIONS)]
    answers = Load(connections, [request(COUNTED)], a_second).run(seconds, watch.see)
    statuses = Counter(answer.status for answer in answers)
    times = [(answer.sent, answer.ended) for answer in answers if answer.status == 200]
    return Passed(rate, nodes, statuses, times)


class _Watch:
    def __init__(self, when, act):
        self.when, self.act = when, act

    def see(self, answer):
        if self.act and answer.ended >= self.when:
            self.act()
            self.act = None
        return False
