"""The results of bench/limits as a document: one table for each scenario, every run in a row of its own."""

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from results import markdown, spread

from . import beside, edge, exact, leased, speed
from .nodes import NODES, TIMEOUT

INTRODUCTION = """# What limits admit

Made by `bench/limits`, which writes this file. What it does is described in [README.md](README.md#what-limits-admit).
"""


def head(command, binaries):
    versions = [_version(binary, argument) for binary, argument in binaries]
    return (f"{INTRODUCTION}\n{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, `{command}`, {os.cpu_count()} cores of "
            f"{_processor()}, Linux {platform.release()}, {', '.join(versions)}.\n")


def of_exact(runs):
    """`runs`: callers, whether a master was killed, what was seen."""
    header = ["callers", "master killed", "quota", "admitted (200)", "beyond it", "refused (429)", "unavailable (503)",
              "broken", "charged in Redis", "503 for, s", "questions a request"]
    rows = []
    for callers, kills, used in runs:
        rows.append([callers, _yes(kills), used.quota, used.admitted, f"{used.admitted - used.quota:+}", used.refused,
                     used.unavailable, used.broken, used.charged, f"{used.away_seconds:.1f}",
                     f"{used.questions / used.requests:.2f}"])
    text = (f"Four pods and a Redis Cluster of three masters with a replica each, `on_store_error = \"deny\"`, `timeout = "
            f"\"{TIMEOUT}\"`; {exact.RATE} requests a second in all, until every caller is refused. The master that holds "
            f"most of the counters is killed with SIGKILL when half of the quota is used.\n")
    return _section("Exact", text, header, rows) + _verdict_of_exact([used for _, _, used in runs])


def of_leased(runs):
    """`runs`: demand, whether a master was killed, what was seen."""
    text = (f"The same with `mode = \"leased\"`, one caller and {leased.A_SECOND} requests a second for {leased.SECONDS} s; "
            f"the master is killed after a third of it. The bound is `burst` + time * `quota` + {NODES} * `lease_max`. "
            "\"At once\" is most that passed in any time beyond what the quota earns in it: "
            f"`burst` + {NODES} * `lease_max` at most.\n")
    rows = [[demand, _yes(kills), _quota(passed.rate), *_of_passed(passed)] for demand, kills, passed in runs]
    for note in dict.fromkeys(passed.note for _, _, passed in runs):
        text += f"\n`tidegate check` says: `{note}`\n"
    header = ["demand", "master killed", "limit", *PASSED]
    return _section("Leased", text, header, rows) + _verdict_of_leased([passed for _, _, passed in runs])


def of_edge(exact_runs, leased_runs):
    """`exact_runs`: callers and what was seen; `leased_runs`: what was seen."""
    text = (f"The built Worker under workerd, in one isolate, with Durable Objects as counters; {edge.RATE} requests a "
            "second.\n")
    header = ["callers", "quota", "admitted (200)", "beyond it", "refused (429)", "unavailable (503)", "broken"]
    rows = [[callers, used.quota, used.admitted, f"{used.admitted - used.quota:+}", used.refused, used.unavailable,
             used.broken] for callers, used in exact_runs]
    section = _section("The Worker, exact", text, header, rows)
    section += _verdict_of_exact([used for _, used in exact_runs])
    rows = [[_quota(passed.rate), *_of_passed(passed)[:-1]] for passed in leased_runs]
    text = (f"{edge.SECONDS} s. How often a Durable Object was asked is not known from outside.\n")
    return (section + _section("The Worker, leased", text, ["limit", *PASSED[:-1]], rows)
            + _verdict_of_leased(leased_runs))


def of_peers(runs, skipped):
    """`runs`: what counts, how the load is spread, what was seen."""
    text = (f"A quota of {beside.QUOTA} for one caller, asked for through four processes at {exact.RATE} requests a second, "
            "until all is refused. nginx (`limit_req`) and Envoy (local rate limit) count in each process by itself, so "
            "each gets a share of the quota, or all of it. nginx has no quota for a window, but a leaky bucket: its rate is "
            "one a minute, the smallest there is, and its burst the rest. Envoy's bucket is filled once a day. Envoy can "
            "also ask a rate limit service of its own (gRPC), which is not in Debian or PyPI and was not measured.\n")
    header = ["who counts", "load", "admitted (200)", "of the quota", "refused while some was left", "other"]
    rows = []
    for who, load, used in runs:
        other = used.requests - used.admitted - used.refused
        rows.append([who, load, used.admitted, f"{100 * used.admitted / used.quota:.1f} %",
                     used.refused_early, other])
    return _section("Beside others", text, header, rows) + "".join(f"\nSKIPPED {name}: {why}\n" for name, why in skipped)


def of_speed(measured, rounds):
    text = (f"Pass-through of 1 KiB at {speed.RATE} requests a second on {speed.CONNECTIONS} connections, {rounds} rounds of "
            f"{speed.SECONDS} s in turn; one Redis server on loopback, on the core of the loader and the origin. "
            "Milliseconds, median (smallest..largest) of the rounds; \"added\" is the difference from `local` in the same "
            "round.\n")
    header = ["mode", "p50", "p99", "added to p50", "added to p99", "questions a request"]
    rows = []
    for mode in speed.MODES:
        took = [spread(measured.rounds[mode][name], "{:.2f}") for name in speed.QUANTILES]
        added = ["-" if mode == "local" else spread(measured.added(mode, name), "{:.2f}") for name in speed.QUANTILES]
        rows.append([mode, *took, *added, f"{measured.questions[mode] / measured.requests[mode]:.3f}"])
    return _section("Speed", text, header, rows)


PASSED = ["admitted (200)", "bound", "at once", "bound of that", "refused (429)", "unavailable (503)", "broken",
          "questions a request"]


def _of_passed(passed):
    statuses = passed.statuses
    return [statuses[200], f"{passed.bound:.0f}", f"{passed.at_once:.0f}", passed.at_once_bound, statuses[429],
            statuses[503], statuses[0], f"{passed.questions / passed.requests:.3f}"]


def _verdict_of_exact(runs):
    over = sum(max(0, used.admitted - used.quota) for used in runs)
    under = sum(max(0, used.quota - used.admitted) for used in runs)
    beyond = sum(1 for used in runs for count in used.by_user.values() if count > used.quota // len(used.by_user))
    return (f"\nOf {len(runs)} runs {sum(used.admitted == used.quota for used in runs)} admitted exactly the quota. {over} "
            f"requests in all were admitted beyond it, to {beyond} callers; {under} of what there was were admitted to "
            "nobody.\n")


def _verdict_of_leased(runs):
    within = sum(passed.statuses[200] <= passed.bound and passed.at_once <= passed.at_once_bound for passed in runs)
    return f"\n{within} of {len(runs)} runs stayed within both bounds.\n"


def _quota(rate):
    return f"{rate.a_minute}/min, burst {rate.burst}, lease_max {rate.lease_max}"


def _yes(is_so):
    return "yes" if is_so else "no"


def _section(title, text, header, rows):
    cells = [[str(cell) for cell in row] for row in rows]
    return f"\n## {title}\n\n{text}\n{markdown([header, ['---'] * len(header), *cells])}"


def _processor():
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.machine()


def _version(binary, argument):
    done = subprocess.run([binary, argument], capture_output=True, text=True)
    text = (done.stdout or done.stderr).strip().splitlines()[0]
    name = Path(binary).name
    found = re.search(r"\d+\.\d+\.\d+", text)
    return f"{name} {found.group(0) if found else '?'}"
