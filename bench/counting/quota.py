"""A quota that does not come back while it is used up: how much of it is admitted."""

from collections import Counter
from dataclasses import dataclass, field

from load import BROKEN, Load, Unexpected, request

from .nodes import COUNTED

CONNECTIONS = 64
SECONDS_MAX = 120
# So many refusals one after the other by every proxy end a run: so many for each caller, and at least so many.
REFUSALS_EACH, REFUSALS_MIN = 5, 250


@dataclass
class Used:
    """What became of a quota."""

    quota: int
    statuses: Counter = field(default_factory=Counter)
    by_user: Counter = field(default_factory=Counter)
    # How many were refused while others were still admitted.
    refused_early: int = 0
    # How long some requests were refused because the store could not be asked, and what the store says was charged.
    away_seconds: float = 0.0
    charged: int = 0
    questions: int = 0

    @property
    def admitted(self):
        return self.statuses[200]

    @property
    def unavailable(self):
        return self.statuses[503]

    @property
    def broken(self):
        return self.statuses[BROKEN]

    @property
    def refused(self):
        return self.statuses[429]

    @property
    def requests(self):
        return sum(self.statuses.values())


def use_up(ports, users, each, rate, at_half=None):
    """Asks for a quota of so much for each user until all of them are refused; `at_half` is done in the middle.

    `ports` has an entry for each share of the connections that a proxy gets.
    """
    watch = _Watch(Used(users * each), max(REFUSALS_MIN, REFUSALS_EACH * users), set(ports), at_half)
    requests = [request(COUNTED, f"user-{number}") for number in range(users)]
    connections = [ports[number % len(ports)] for number in range(CONNECTIONS)]
    answers = Load(connections, requests, rate).run(SECONDS_MAX, watch.see)
    if not watch.is_over:
        raise Unexpected(f"the quota was not used up in {SECONDS_MAX} s: {dict(watch.used.statuses)}")
    away = [answer.ended for answer in answers if answer.status == 503]
    watch.used.away_seconds = max(away) - min(away) if away else 0.0
    return watch.used


class _Watch:
    """Counts answers, and says when nothing else than refusals comes."""

    def __init__(self, used, enough, ports, at_half):
        self.used, self.enough, self.at_half = used, enough, at_half
        self.refusals = {port: 0 for port in ports}
        self.is_over = False

    def see(self, answer):
        self.used.statuses[answer.status] += 1
        if answer.status == 200:
            self.used.by_user[answer.request] += 1
            self.used.refused_early = self.used.refused
        if self.at_half and self.used.admitted >= self.used.quota / 2:
            self.at_half()
            self.at_half = None
        self.refusals[answer.port] = self.refusals[answer.port] + 1 if answer.status == 429 else 0
        self.is_over = self.is_over or min(self.refusals.values()) >= self.enough
        return self.is_over
