"""The benchmark's input: the flights of 2013, repeated and re-timed to 1,000 events per second of event time.

The same rows are written once with their labels, so that riverd, river and Vowpal Wabbit read one file (fields
that begin with an underscore are no features to Vowpal Wabbit), and once as two topics.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from riverd.flights import write_topics

CATEGORIES = ("carrier", "origin", "dest", "hour", "weekday")
NUMBERS = ("distance", "planned_minutes", "temp", "wind_speed", "precip", "pressure")
START_MS = 1_700_000_000_000
DELAY_FACTOR = 2000  # labels come 2,000 times sooner than planes landed: median 5 s, so 5,000 predictions wait

DATA = Path(__file__).parent / "data"


def flights() -> list[tuple[str, bool, float]]:
    """JSON of the features, label and delay in seconds of each flight that arrived, by scheduled departure."""
    write_topics(DATA / "flights")
    arrivals = {}
    with (DATA / "flights" / "arrivals" / "0.jsonl").open() as lines:
        for line in lines:
            arrival = json.loads(line)
            arrivals[arrival["id"]] = datetime.fromisoformat(arrival["arrived_at"]), arrival["late"]
    rows = []
    with (DATA / "flights" / "flights" / "0.jsonl").open() as lines:
        for line in lines:
            flight = json.loads(line)
            if flight["id"] not in arrivals:
                continue
            arrived, late = arrivals[flight["id"]]
            scheduled = datetime.fromisoformat(flight["scheduled_at"])
            features = {
                "carrier": flight["carrier"],
                "origin": flight["origin"],
                "dest": flight["dest"],
                "hour": f"h{scheduled.hour}",
                "weekday": f"d{scheduled.weekday()}",
                "route": f"{flight['origin']}-{flight['dest']}",
                **{name: flight[name] for name in NUMBERS if flight[name] is not None},
            }
            body = json.dumps(features, separators=(",", ":"))[1:]
            rows.append((body, late, (arrived - scheduled).total_seconds()))
    return rows


def write(pairs: int, *, outcomes: bool = True) -> Path:
    """Write ``pairs`` rows in each form, once, and return their folder; without outcomes only the events."""
    folder = DATA / (f"rows-{pairs}" if outcomes else f"events-{pairs}")
    if (folder / "done").exists():
        return folder
    for topic in ("labelled", "events", "outcomes"):
        (folder / topic).mkdir(parents=True, exist_ok=True)
    source = flights()
    with (folder / "events" / "0.jsonl").open("w") as events:
        for i in range(pairs):
            events.write(f'{{"_id":"f{i}","_time":{START_MS + i},{source[i % len(source)][0]}\n')
    if outcomes:
        with (folder / "labelled" / "0.jsonl").open("w") as labelled:
            for i in range(pairs):
                body, late, _ = source[i % len(source)]
                truth = f'"_late":{"true" if late else "false"},"_label":{1 if late else -1}'
                labelled.write(f'{{"_id":"f{i}","_time":{START_MS + i},{truth},{body}\n')
        with (folder / "outcomes" / "0.jsonl").open("w") as labels:
            labels.writelines(_outcomes(source, pairs))
    (folder / "done").touch()
    return folder


def _outcomes(source: list[tuple[str, bool, float]], pairs: int) -> Iterator[str]:
    """The labels in order of their times."""
    due = ((START_MS + i + round(source[i % len(source)][2] * 1000 / DELAY_FACTOR), i) for i in range(pairs))
    for at, i in sorted(due):
        late = source[i % len(source)][1]
        yield f'{{"_id":"f{i}","_time":{at},"_late":{"true" if late else "false"}}}\n'
