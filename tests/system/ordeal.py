"""A stream through real Kafka and PostgreSQL while everything is killed in turn, and what must be true of it then."""

from __future__ import annotations

import itertools
import json
import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from riverd.failpoints import fail_points
from tests.riverd.streams import MINUTE_US, START_US, close_the_books
from tests.system.children import Child, finish, run_child, tailing
from tests.system.kafka import Kafka
from tests.system.postgres import Postgres
from tests.system.streams_on_disk import configure

PARTITIONS = 3
SPACING_US = 10_000
KILLS = ("daemon", "broker", "in a commit", "database", "database in a commit", "while learning")


@dataclass(slots=True)
class Stream:
    """Pairs of an event and its label, some of them sent twice, in the order in which they are sent."""

    pairs: int
    seed: int
    truth: Counter[str] = field(default_factory=Counter)

    def parts(self, count: int) -> Iterator[list[tuple[str, int, bytes]]]:
        """Topic, partition and message of each, in so many parts."""
        rng = random.Random(self.seed)
        messages: list[tuple[int, str, int, bytes]] = []
        for i in range(self.pairs):
            time_us, partition = START_US + i * SPACING_US, i % PARTITIONS
            x, shop = round(rng.gauss(0.0, 1.0), 3), "abcdefgh"[i % 8]
            positive = rng.random() < (0.7 if x > 0 else 0.2)
            event = {"id": f"e{i}", "at": time_us / 1e6, "shop": shop, "user": i % 97, "x": x, "amount": 1.0}
            label_us = time_us + rng.randrange(MINUTE_US)
            label = {"id": f"e{i}", "at": label_us / 1e6, "y": positive}
            for at_us, topic, message in ((time_us, "events", event), (label_us, "labels", label)):
                for _ in range(1 + (rng.random() < 0.01)):
                    self.truth[topic] += 1
                    messages.append((at_us, topic, partition, json.dumps(message).encode()))
            self.truth["positives"] += positive
        messages.sort(key=lambda sent: sent[0])
        size = -(-len(messages) // count)
        for start in range(0, len(messages), size):
            yield [sent[1:] for sent in messages[start : start + size]]


def endure(kafka: Kafka, postgres: Postgres, url: str, folder: Path, stream: Stream, *, kills: int) -> dict[str, Any]:
    """Send the stream in parts to a riverd that tails it; after each part something is killed. Returns how it ended."""
    names = {"events": kafka.topic(PARTITIONS), "labels": kafka.topic(PARTITIONS)}
    configure(
        folder,
        folder,
        source={
            "kind": "kafka",
            "bootstrap_servers": [kafka.address],
            "poll_records": 500,
            "idle_after": "2s",
        },
        events={"topic": names["events"]},
        labels={"topic": names["labels"]},
        storage={"url": url, "checkpoint": "0s"},
    )
    killed: Counter[str] = Counter()
    kafka.rest()
    with postgres.started_again(), ExitStack() as stack:
        child, wait_for = stack.enter_context(tailing(folder))
        sent = 0
        for number, part in enumerate(stream.parts(kills + 1)):
            what = KILLS[number % len(KILLS)] if number < kills else None
            dies_at_work = what in ("in a commit", "while learning", "database in a commit")
            if dies_at_work:  # the next one has a death of its own, for which there must be work left
                child.signal(signal.SIGKILL)
                child.wait()
            kafka.send_in_order(
                [(names[topic], partition, message) for topic, partition, message in part], enable_idempotence=True
            )
            sent += len(part)
            if what is None:
                break
            killed[what] += 1
            if what == "broker":
                kafka.broker.kill()
                kafka.broker.start()
                kafka.again()
            elif what == "database":
                postgres.kill_and_wait()
            else:
                if what == "daemon":
                    child.signal(signal.SIGKILL)
                    assert child.wait() == -signal.SIGKILL
                stack.pop_all().close()
                kafka.rest()
                child, wait_for = _go_on(stack, folder, postgres, url, what)
        told = wait_for(lambda told: told["counts"].get("messages") == sent)
        close_the_books(told["counts"])
        child.signal(signal.SIGTERM)
        assert child.wait() == 0, child.result
    return {"result": child.result, "judged": told["judged"], "sent": sent, "killed": killed}


def _go_on(stack: ExitStack, folder: Path, postgres: Postgres, url: str, what: str) -> tuple[Child, Any]:
    """Start riverd again, unless it is to die once more on the way."""
    postgres.run("UPDATE leases SET expires_at = 0", url=url)
    if what == "in a commit":
        assert run_child(folder, fails_at="checkpoint.commit:2", until_idle=False).wait() == -signal.SIGKILL
    elif what == "while learning":
        assert run_child(folder, fails_at="engine.learned:3", until_idle=False).wait() == -signal.SIGKILL
    ports: dict[str, Any] = {}
    if what == "database in a commit":
        commits = itertools.count(1)

        def reached(place: str) -> None:
            if place == "checkpoint.commit" and next(commits) == 2:
                postgres.kill_and_wait()

        ports["reached"] = reached
    else:
        ports["reached"] = fail_points(None)
    # a killed holder's lease is over; how long that takes is tested elsewhere
    postgres.run("UPDATE leases SET expires_at = 0", url=url)
    return stack.enter_context(tailing(folder, **ports))


def check_truth(ended: dict[str, Any], stream: Stream) -> None:
    """Every event and label took effect once."""
    counts, truth = ended["result"]["counts"], stream.truth
    assert counts["messages"] == ended["sent"] == truth["events"] + truth["labels"]
    fates = {
        "resolved": stream.pairs,
        "matched": stream.pairs,
        "duplicate_events": truth["events"] - stream.pairs,
        "duplicate_labels": truth["labels"] - stream.pairs,
    } | dict.fromkeys(("pending", "expired", "waiting", "late", "orphan", "correction", "conflict", "dead"), 0)
    assert {fate: counts[fate] for fate in fates} == fates, counts
    judged = ended["judged"]
    assert (judged["labelled"], judged["positives"]) == (stream.pairs, truth["positives"]), judged


def replays_are_equal(folder: Path) -> str:
    """Two runs from the beginning to the same ends, each into a database of its own; what they learn."""
    text = (folder / "riverd.toml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("url =", "lease ="))]
    learned = set()
    for name in ("first", "second"):
        (folder / name).mkdir()
        (folder / name / "riverd.toml").write_text("\n".join(lines), encoding="utf-8")
        result = finish(folder / name)
        learned.add((result["model_sha256"], json.dumps(result["counts"]), json.dumps(result["metrics"])))
    [(sha256, *_)] = learned
    return sha256
