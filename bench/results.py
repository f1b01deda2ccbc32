"""Turns the figures of all rounds into tables for people and one object for programs."""

from statistics import median

FIGURES = [
    ("cpu_micros_a_request", "CPU microseconds a request", "{:.1f}"),
    ("requests_a_second_a_core", "requests a second a core (1,000,000 / CPU microseconds)", "{:.0f}"),
    ("requests_a_second_observed", "requests a second observed (limited by the loader for fast peers)", "{:.0f}"),
]


class Results:
    """Figures by scenario and peer; a cell with one invalid round has a reason and no figure."""

    def __init__(self, scenarios, peers, rounds, seconds):
        self.scenarios, self.peers = scenarios, peers
        self.rounds, self.seconds = rounds, seconds
        self.cells = {(scenario.name, peer): [] for scenario in scenarios for peer in peers}
        self.invalid = {}
        self.skipped = {}
        self.memory_mb = {}
        self.notes = {}

    def tables(self):
        parts = [
            self._table(title, lambda cell, key=key, form=form: spread([run[key] for run in cell], form))
            for key, title, form in FIGURES
        ]
        base = next((peer for peer in self.peers if peer not in self.skipped), None)
        if base:
            parts.append(self._table(f"CPU a request as a multiple of {base}'s in the same round", None, base))
        parts.append(self._footnotes())
        return "\n".join(parts)

    def as_json(self):
        return {
            "rounds": self.rounds,
            "seconds": self.seconds,
            "cells": [
                {
                    "scenario": scenario,
                    "peer": peer,
                    "invalid": self.invalid.get((scenario, peer)),
                    "runs": [] if (scenario, peer) in self.invalid else runs,
                }
                for (scenario, peer), runs in self.cells.items()
                if peer not in self.skipped
            ],
            "memory_peak_mb": self.memory_mb,
            "skipped": self.skipped,
        }

    def _table(self, title, show, base=None):
        rows = [[f"{title}", *self.peers], ["---"] * (len(self.peers) + 1)]
        for scenario in self.scenarios:
            row = [scenario.title]
            for peer in self.peers:
                if peer in self.skipped:
                    row.append("SKIPPED")
                elif (scenario.name, peer) in self.invalid:
                    row.append("INVALID")
                elif base:
                    row.append(self._ratio(scenario.name, peer, base))
                else:
                    row.append(show(self.cells[scenario.name, peer]))
            rows.append(row)
        if title == FIGURES[0][1]:
            rows.append(["peak memory, MB", *[f"{self.memory_mb[peer]:.0f}" if peer in self.memory_mb else "SKIPPED"
                                              for peer in self.peers]])
        return markdown(rows)

    def _ratio(self, scenario, peer, base):
        """Peers of one round ran within seconds of each other, so a slow minute of the machine cancels out."""
        if (scenario, base) in self.invalid:
            return "-"
        key = FIGURES[0][0]
        pairs = zip(self.cells[scenario, peer], self.cells[scenario, base])
        return spread([own[key] / other[key] for own, other in pairs], "{:.2f}")

    def _footnotes(self):
        lines = [f"Median (smallest..largest) of {self.rounds} interleaved rounds of {self.seconds} s."]
        lines += [f"SKIPPED {peer}: {reason}" for peer, reason in self.skipped.items()]
        lines += [f"INVALID {peer}, {scenario}: {reason}" for (scenario, peer), reason in self.invalid.items()]
        lines += [f"Note on {peer}: {note}." for peer, note in self.notes.items() if note and peer not in self.skipped]
        return "\n".join(lines)


def spread(values, form):
    if not values:
        return "-"
    shown = [form.format(value) for value in (median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]}..{shown[2]})"


def markdown(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        padded = [cell.ljust(width, "-" if cell == "---" else " ") for cell, width in zip(row, widths)]
        lines.append("| " + " | ".join(padded) + " |")
    return "\n".join(lines) + "\n"
