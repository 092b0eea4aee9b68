"""Tables of what was found, how soon, and what was not there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.monitor_streams import EVENTS, FAULT_AT, FAULTS, PER_DAY

SETTLED = 40_000 - FAULT_AT  # before, every learner is still finding its feet
WITHIN = 14 * PER_DAY  # events after the fault in which an alarm still answers it
DETECTORS = ("riverd", "ECE > 0.01", "PSI > 0.2", "ADWIN", "Page-Hinkley", "DDM")

Alarms = Mapping[str, list[int]]


def print_tables(console: Console, results: Mapping[tuple[str, int], Alarms]) -> None:
    """One row for each fault and detector, and false alarms by a million events."""
    found = Table("fault", *DETECTORS, title="Share found, median delay in events")
    for fault in FAULTS:
        cells = []
        for detector in DETECTORS:
            first = [
                next((at for at in alarms[detector] if 0 <= at <= WITHIN), None)
                for (kind, _), alarms in results.items()
                if kind == fault and detector in alarms
            ]
            hits = [at for at in first if at is not None]
            share = f"{len(hits) / max(len(first), 1):.0%} of {len(first)}"
            cells.append(f"{share}\n{np.median(hits):,.0f}" if hits else share)
        found.add_row(fault, *cells)
    console.print(found)

    quiet = Table("quiet events", *DETECTORS, title="False alarms, and how many a million events")
    for label, kinds, last in (
        ("quiet streams", ("quiet",), EVENTS),
        ("quiet, traffic x 2, late labels", ("busy",), EVENTS),
        ("before the fault", tuple(FAULTS), 0),
    ):
        cells = []
        for detector in DETECTORS:
            streams = [
                [at for at in alarms[detector] if at < last]
                for (kind, _), alarms in results.items()
                if kind in kinds and detector in alarms
            ]
            # river's detectors are spared the beginning; riverd is not
            begins = -FAULT_AT if detector == "riverd" or "0." in detector else SETTLED
            events = len(streams) * (min(last, EVENTS - FAULT_AT) - begins)
            count = sum(map(len, streams))
            cells.append(f"{count} in {events / 1e6:.1f} M\n{count / events * 1e6:.2f}" if events else "")
        quiet.add_row(label, *cells)
    console.print(quiet)

    ways = Table("fault", "which of riverd's alerts answered (share of streams)", title="How riverd found it")
    for fault in FAULTS:
        streams = [alarms for (kind, _), alarms in results.items() if kind == fault]
        names = sorted({name for alarms in streams for name in alarms if name.startswith("riverd: ")})
        shares = [(sum(any(0 <= at <= WITHIN for at in a.get(name, ())) for a in streams), name) for name in names]
        ways.add_row(
            fault, ", ".join(f"{name[8:]} {n / len(streams):.0%}" for n, name in sorted(shares, reverse=True) if n)
        )
    console.print(ways)
