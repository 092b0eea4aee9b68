"""The story of retrains: what was decided and why, and how the challenger stands."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from riverd.screen.notation import count, figure, moment, plain
from riverd.screen.style import BAD, GOOD
from riverd.status import DecisionStatus, RetrainStatus, Status

_SIGNS = {"promoted": ("▲", GOOD), "rolled back": ("▼", BAD), "failed": ("✗", BAD), "rejected": ("✗", ""),
          "refused": ("·", "")}  # fmt: skip


def decision_line(decision: DecisionStatus, *, year: bool = True) -> Text:
    """A decision, with when it was made and why."""
    mark, style = _SIGNS.get(decision.decision, ("→", ""))
    at = "at once" if decision.at is None else moment(decision.at, year=year)
    whole = "retrain" if decision.decision == "refused" else "model"
    name = whole if decision.retrain is None else f"retrain {decision.retrain}"
    return Text.assemble((f"{mark} ", style), plain(f"{at}  {name} {decision.decision}: {decision.reason}"))


def retrain_line(retrain: RetrainStatus) -> Text:
    """The one that goes on: how much is read, or how it fares against the model that serves."""
    name = f"retrain {retrain.number}, {retrain.state}: "
    if retrain.state == "training":
        share = "" if retrain.share is None else f", {100 * retrain.share:.0f} % of history read"
        return Text(plain(f"{name}{count(retrain.events)} events{share}"))
    if retrain.gain is None or retrain.evidence is None or retrain.bound is None:
        return Text(f"{name}no event is judged yet")
    error = "" if retrain.gain_error is None else f" ± {figure(retrain.gain_error)}"
    side = "better" if retrain.gain >= 0 else "worse"
    return Text(
        f"{name}{side} by {figure(abs(retrain.gain))}{error} nats over {count(retrain.events)} events, evidence "
        f"{figure(retrain.evidence, 1)} of {figure(retrain.bound, 1)}"
    )


def retrain_story(status: Status, *, most: int) -> Iterator[Text]:
    """The latest decisions, and how it stands."""
    for decision in status.decisions[-most:]:
        yield decision_line(decision)
    if status.retrain is not None:
        yield retrain_line(status.retrain)
