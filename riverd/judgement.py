"""What the monitors say: the figures of every window, what rules make of them at a tick, what goes into history."""

from __future__ import annotations

from functools import cache

from monitors.bins import NOTHING
from monitors.grid import End
from monitors.quality import Quality, quality
from monitors.rules import Judged, Rule
from monitors.slices import Slice, parse_slice
from riverd.assembly import Parts
from riverd.config import Config
from riverd.durations import format_duration
from riverd.history import history_due, history_of, history_of_slices, provisional_history, slices_due
from storage.history import Figures
from stream.merge import BEGINNING
from stream.records import AlertChange

ENDS: tuple[End, ...] = ("final", "provisional")


class Judgement:
    """Reads the monitors of one engine; they are told of the tick before."""

    def __init__(self, config: Config, parts: Parts) -> None:
        self._config = config
        self._parts = parts
        self._threshold = config.monitors.threshold
        fields = config.monitors.slices
        self._slice_of = {
            rule.name: parse_slice(rule.slice, fields) for rule in parts.rules.rules if rule.slice is not None
        }

    def windows(self) -> dict[tuple[int, End], Judged]:
        """Every window, final and provisional, as of the watermark."""
        now_us = self._parts.joiner.watermark
        if now_us == BEGINNING:
            return {}
        return {(window, end): self._judged(window, end, now_us) for window in self._windows for end in ENDS}

    def slices(self, end: End, window_us: int) -> dict[Slice, Quality]:
        """The quality of each slice that had an event in a window, as of the watermark."""
        now_us = self._parts.joiner.watermark
        return {} if now_us == BEGINNING else self._slices(end, window_us, now_us)

    def at_tick(self, tick_us: int) -> tuple[list[AlertChange], list[Figures]]:
        """What began to fire or was resolved, and the figures to be kept."""
        rules, final_us = self._parts.rules, self._parts.panes.final_end(tick_us)
        kept = [window_us for window_us in self._windows if history_due(tick_us, window_us)]
        asked: set[tuple[int, End]] = {(rule.window_us, rule.on) for rule in rules.rules}
        for window_us in kept:
            asked.add((window_us, "final"))
        judged = {(window_us, end): self._judged(window_us, end, tick_us) for window_us, end in sorted(asked)}

        @cache
        def looks_at(rule: Rule) -> Judged:
            whole = judged[rule.window_us, rule.on]
            of = self._slice_of.get(rule.name)
            return whole if of is None else Judged(self._slice(of, rule, tick_us), whole.traffic)

        changes = rules.evaluate(
            tick_us,
            lambda rule: rule.verdict(looks_at(rule)),
            lambda rule: rule.error(looks_at(rule)),
            reference_over=self._parts.drift.is_over(final_us),
        )
        history: list[Figures] = []
        for window_us in kept:
            window = format_duration(window_us)
            history += history_of(judged[window_us, "final"], window, decided_us=final_us, asked_us=tick_us)
            latest = self._quality(window_us, "provisional", tick_us)
            history += provisional_history(latest, window, at_us=tick_us)
            if slices_due(tick_us, window_us):
                slices = self._slices("final", window_us, tick_us)
                history += history_of_slices(slices, window, decided_us=final_us)
        return changes, history

    @property
    def _windows(self) -> list[int]:
        return self._config.monitors.windows

    def _judged(self, window_us: int, end: End, now_us: int) -> Judged:
        drift = self._parts.drift.window(end, window_us, now_us)
        traffic = self._parts.traffic.window(end, window_us, now_us, threshold=self._threshold, drift=drift)
        return Judged(self._quality(window_us, end, now_us), traffic)

    def _quality(self, window_us: int, end: End, now_us: int) -> Quality:
        return quality(self._parts.panes.window(end, window_us, now_us).tally, threshold=self._threshold)

    def _slices(self, end: End, window_us: int, now_us: int) -> dict[Slice, Quality]:
        tallies = self._parts.slices.tallies(end, window_us, now_us)
        return {of: quality(tally, threshold=self._threshold) for of, tally in tallies.items() if tally.events}

    def _slice(self, of: Slice, rule: Rule, now_us: int) -> Quality:
        tally = self._parts.slices.tally(of, rule.on, rule.window_us, now_us)
        return quality(NOTHING if tally is None else tally, threshold=self._threshold)
