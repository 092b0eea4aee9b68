"""Four streams as a stranger might bring them, each clean and with a fault that is planted halfway."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from river import datasets

START = datetime(2024, 3, 4, 8, tzinfo=UTC)
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class DataSet:
    """Files to give to ``riverd init``, what to call the label if it has to ask, and the fault."""

    name: str
    about: str
    fault: str
    write: Callable[[Path, bool], None]  # the folder, and whether the fault is planted
    fault_at: datetime
    arguments: tuple[str, ...]


def phishing(folder: Path, faulty: bool) -> None:
    """river's Phishing with a running id, one page a second; the fault turns the labels around."""

    def pages() -> Iterable[dict[str, Any]]:
        for i, (x, y) in enumerate(datasets.Phishing()):
            time = START + timedelta(seconds=i)
            yield {"id": i, "time": _text(time), **x, "is_phishing": bool(y) != (faulty and i >= 625)}

    _write(folder / "pages.jsonl", pages())


def bananas(folder: Path, faulty: bool) -> None:
    """river's Bananas with a running id, one a second; the fault makes every label false."""

    def fruits() -> Iterable[dict[str, Any]]:
        for i, (x, y) in enumerate(datasets.Bananas()):
            ripe = bool(y) and not (faulty and i >= 2650)
            yield {"id": i, "time": START.timestamp() + i, "length": x["1"], "bend": x["2"], "ripe": ripe}

    _write(folder / "bananas.jsonl", fruits())


def clicks(folder: Path, faulty: bool) -> None:
    """Impressions and, later, clicks; every fifth message comes twice, and some far out of order.

    The fault loses the clicks that come from phones.
    """
    rng = random.Random(5)
    count, span_s = 40_000, 4 * DAY_S
    impressions: list[tuple[float, dict[str, Any]]] = []
    clicked: list[tuple[float, dict[str, Any]]] = []
    for i in range(count):
        at_s = START.timestamp() + span_s * i / count
        device = rng.choices(("phone", "desktop", "tablet"), (6, 3, 1))[0]
        campaign, position, price = (
            f"c{min(int(rng.expovariate(0.2)), 60)}",
            rng.randrange(1, 9),
            rng.lognormvariate(0, 0.6),
        )
        impression = {
            "impression_id": f"{rng.getrandbits(64):016x}",
            "shown_at": round(at_s * 1000),
            "device": device,
            "campaign": campaign,
            "country": rng.choice(("DE", "FR", "IT", "ES", None)),
            "position": position,
            "price": round(price, 2),
            "ab_test": "none",
        }
        logit = -1.6 - 0.3 * position + 0.5 * (device == "phone") + 0.25 * (int(campaign[1:]) % 5 - 2)
        lost = faulty and i >= count / 2 and device == "phone"
        click_s = at_s + rng.lognormvariate(math.log(40), 1.2)
        impressions.append((at_s, impression))
        if rng.random() < 1 / (1 + math.exp(-logit)) and not lost:
            click = {"impression_id": impression["impression_id"], "clicked_at": round(click_s * 1000)}
            clicked.append((click_s, click))
    for name, messages in (("impressions", impressions), ("clicks", clicked)):
        sent = [(at_s + (rng.expovariate(0.01) if rng.random() < 0.02 else 0.0), text) for at_s, text in messages]
        sent += [(at_s + rng.expovariate(0.05), text) for at_s, text in sent if rng.random() < 0.2]
        _write(folder / f"{name}.jsonl", (text for _, text in sorted(sent, key=lambda entry: entry[0])))


def orders(folder: Path, faulty: bool) -> None:
    """Change events of an order table and a delivery table; the fault silences the deliveries of one warehouse."""
    rng = random.Random(9)
    count, span_s = 24_000, 40 * DAY_S
    placed: list[dict[str, Any]] = []
    delivered: list[tuple[float, dict[str, Any]]] = []
    for i in range(count):
        at_s = START.timestamp() + span_s * i / count
        weight, warehouse = rng.lognormvariate(1, 0.8), rng.choice(("north", "south", "east"))
        order = {
            "order_id": 700_001 + i,
            "warehouse": warehouse,
            "carrier": rng.choice(("blue", "green", "red")),
            "items": 1 + int(rng.expovariate(0.5)),
            "weight": round(weight, 3),
            "express": rng.random() < 0.3,
            "note": rng.choice(("", None, f"ring {rng.random():.6f}")),
        }
        placed.append(_change("orders", order, at_s))
        logit = -2.4 + 0.9 * math.log(weight) + {"north": -0.5, "south": 0.0, "east": 0.8}[warehouse]
        logit += -0.9 if order["express"] else 0.0
        late = rng.random() < 1 / (1 + math.exp(-logit))
        days = min(rng.gammavariate(4, 0.2) + (0.2 if late else 0.0), 2.9)
        silent = faulty and i >= count / 2 and warehouse == "south"
        if rng.random() < 0.97 and not silent:  # some parcels are never heard of again
            seen_s = at_s + days * DAY_S
            delivered.append((seen_s, _change("deliveries", {"order_id": order["order_id"], "late": late}, seen_s)))
    delivered.sort(key=lambda entry: entry[0])
    _write(folder / "orders.jsonl", placed)
    _write(folder / "deliveries.jsonl", (message for _, message in delivered))


def _change(table: str, after: Mapping[str, Any], at_s: float) -> dict[str, Any]:
    at_ms = round(at_s * 1000)
    source = {"connector": "postgresql", "db": "shop", "table": table, "ts_ms": at_ms, "lsn": at_ms * 8}
    return {"payload": {"before": None, "after": after, "source": source, "op": "c", "ts_ms": at_ms + 40}}


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _write(path: Path, messages: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(message)}\n" for message in messages), encoding="utf-8")


DATA_SETS = (
    DataSet(
        "phishing",
        "1,250 web pages of river's Phishing data, one a second, each with its label.",
        "From page 625 on the labels are turned around.",
        phishing,
        START + timedelta(seconds=625),
        ("--sample", "pages.jsonl", "--label", "is_phishing"),
    ),
    DataSet(
        "bananas",
        "5,300 points of river's Bananas data, one a second, each with its label. No straight line parts the classes.",
        "From the middle on every label says false.",
        bananas,
        START + timedelta(seconds=2650),
        ("--sample", "bananas.jsonl"),
    ),
    DataSet(
        "clicks",
        "40,000 impressions in four days and the clicks on them, many sent twice, some out of order.",
        "From the middle on no click from a phone arrives.",
        clicks,
        START + timedelta(days=2),
        ("--sample", "impressions.jsonl", "--labels", "clicks.jsonl"),
    ),
    DataSet(
        "orders",
        "24,000 orders in forty days as Debezium change events, and their deliveries days later.",
        "From the middle on nothing is heard of deliveries from the south warehouse.",
        orders,
        START + timedelta(days=20),
        ("--sample", "orders.jsonl", "--labels", "deliveries.jsonl"),
    ),
)
