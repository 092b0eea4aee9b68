"""What a run comes to, in words for whoever started it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from riverd.screen.frame import checkpoint_line, event_line
from riverd.screen.notation import UNDEFINED, count, figure, moment, plain, share, span
from riverd.screen.retrains import retrain_story
from riverd.screen.slices import slices_table, worst_slices
from riverd.screen.style import BAD, GOOD, STRONG, line
from riverd.status import Status, WindowStatus

_ALERTS = 12
_SLICES = 5
_EVENT_FATES = {
    "resolved": "got their label in time",
    "pending": "still wait for it",
    "expired": "never got one",
    "duplicate_events": "were duplicates",
    "conflict": "contradicted an earlier event of the same id",
}
_LABEL_FATES = {
    "matched": "matched an event",
    "waiting": "wait for their event",
    "late": "came too late",
    "duplicate_labels": "were duplicates",
    "correction": "corrected an earlier label",
    "orphan": "belonged to no event",
}


def summary(status: Status, *, width: int, next_steps: Sequence[tuple[str, str]] = ()) -> RenderableType:
    """Tell what happened, how good the model was, what became of the labels, when it alerted and why.

    Parameters
    ----------
    status
        The last one of the run. Quality is that of ``overall``, or of the longest window where there is none.
    width
        Columns of the terminal.
    next_steps
        What to try next: (command, why).
    """
    parts: list[RenderableType] = []
    for title, body in (
        (plain(status.model), list(_course(status))),
        ("How good it was", list(_quality(status))),
        ("Least calibrated slices", list(_slices(status, width))),
        ("What became of the labels", list(_books(status))),
        ("Alerts", list(_alerts(status))),
        ("Retraining", list(retrain_story(status, most=_ALERTS))),
        ("Next", list(_steps(next_steps))),
    ):
        if body:
            parts += [
                Text(),
                line((title, STRONG), width=width),
                *(Padding(part, (0, 0, 0, 2), expand=False) for part in body),
            ]
    return Group(*parts, Text())


def _course(status: Status) -> Iterator[Text]:
    events = status.counts.get("events", 0)
    rate = f", {count(events / status.seconds)} events a second" if status.seconds > 0 else ""
    until = f", up to {moment(status.watermark)} UTC" if status.watermark is not None else ""
    yield Text(f"{count(events)} events{until}, in {span(status.seconds)}{rate}.")
    if status.checkpoint:
        yield Text(f"Last {checkpoint_line(status.checkpoint)}.")


def _quality(status: Status) -> Iterator[Text]:
    window = status.overall or _longest(status.windows)
    if window is None or not _known(window.logloss):
        yield Text("Nothing can be said yet: no window holds labels of both kinds.")
        return
    of = "Over the whole run" if window is status.overall else f"Over the last {plain(window.window)}"
    yield Text(f"{of}, {count(window.labelled)} predictions were judged by the score served at the time.")
    loss, entropy = window.logloss, window.normalized_entropy
    if loss is not None and entropy is not None and _known(entropy) and entropy > 0:
        rate = share(window.positive_rate)
        base = f"always answering the rate of positives, {rate}, would have cost {figure(loss / entropy)}"
        yield Text.assemble("Logloss ", (figure(loss), STRONG), f"; {base}.")
        better = entropy < 1
        verdict = f"{share(abs(1 - entropy))} {'better' if better else 'worse'} than that rate"
        yield Text.assemble(
            "Normalised entropy ", (figure(entropy, 3), STRONG), ": ", (verdict, GOOD if better else BAD), "."
        )
    if window.roc_auc is not None and _known(window.roc_auc):
        meaning = f"of a positive and a negative, the positive scored higher {100 * window.roc_auc:.0f} times in 100"
        yield Text.assemble("AUC ", (figure(window.roc_auc, 3), STRONG), f": {meaning}.")


def _slices(status: Status, width: int) -> Iterator[RenderableType]:
    window, slices = worst_slices(status.windows)
    if slices:
        yield slices_table(window, slices[:_SLICES], width=width)


def _longest(windows: Sequence[WindowStatus]) -> WindowStatus | None:
    judged = [window for window in windows if window.final and _known(window.logloss)]
    return max(judged, key=lambda window: window.labelled, default=None)


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _books(status: Status) -> Iterator[Text]:
    for whole, fates in (("events", _EVENT_FATES), ("labels", _LABEL_FATES)):
        total = status.counts.get(whole, 0)
        if not total:
            continue
        parts = [(status.counts.get(fate, 0), words) for fate, words in fates.items()]
        said = ", ".join(f"{count(number)} {words}" for number, words in parts if number)
        yield Text(f"{count(total)} {whole}: {said or UNDEFINED}.")
        if missing := total - sum(number for number, _ in parts):
            yield Text(
                f"The books do not close: {count(missing)} {whole} are unaccounted for. Please report this.", BAD
            )
    if dead := status.counts.get("dead", 0):
        yield Text(f"{count(dead)} messages could not be read: riverd deadletters", BAD)


def _alerts(status: Status) -> Iterator[Text]:
    left_out = len(status.events) - _ALERTS
    if left_out > 0:
        yield Text(f"{count(left_out)} earlier ones are left out here.")
    for event in status.events[-_ALERTS:]:
        yield event_line(event)
    firing = [plain(alert.rule) for alert in status.alerts if alert.state == "firing"]
    if firing:
        yield Text(f"Still firing: {', '.join(firing)}.", BAD)
    elif status.alerts and not status.events:
        yield Text(f"None of {len(status.alerts)} rules fired.")


def _steps(next_steps: Sequence[tuple[str, str]]) -> Iterator[RenderableType]:
    for command, why in next_steps:
        yield Text(command, STRONG)
        yield Padding(Text(why), (0, 0, 0, 4), expand=False)
