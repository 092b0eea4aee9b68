"""Retraining as metrics: what is decided, and how a challenger stands."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from riverd.status import Status
from riverd.web.families import Rows, counter, gauge, one

STATES = ("training", "in shadow")


def retrain_families(status: Status) -> Iterator[Metric]:
    """Of an external model, which is not retrained, none."""
    if not status.decided:
        return
    decided: Rows = [((decision,), count) for decision, count in status.decided.items()]
    yield counter("riverd_retrain_decisions", "Decisions about retraining.", ("decision",), decided)
    now = status.retrain
    going: Rows = [((state,), float(now is not None and now.state == state)) for state in STATES]
    yield gauge("riverd_retrain_going", "1 while a challenger is in that state.", ("state",), going)
    if now is None:
        return
    yield one("riverd_retrain_events", "Events that it was trained on so far, or has been judged by.", now.events)
    figures = (
        ("riverd_challenger_gain_nats", "By which it is better than what serves, an event.", now.gain),
        ("riverd_challenger_gain_error_nats", "Standard error of that.", now.gain_error),
        ("riverd_challenger_evidence", "Log of what bets on the challenger are worth.", now.evidence),
        ("riverd_challenger_evidence_bound", "Where it is promoted.", now.bound),
    )
    for name, of, value in figures:
        yield gauge(name, of, (), [((), value)] if now.state == "in shadow" else [])
