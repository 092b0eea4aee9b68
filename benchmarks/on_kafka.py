"""From a real broker on this machine: joined pairs a second, and lag after a burst, beside what others do.

    on_kafka.py [PAIRS [BURST]]

All read the same topics, keyed and stamped so that quix-streams can join them; the others read the first part alone,
since their rates do not depend on how much there is. Each reader runs ``ROUNDS`` times in turn, with the broker on the
same cores; ratios are of medians. riverd checkpoints every 5 s, as often as quix-streams commits. quix-streams (Apache
licence 2.0) lives in an environment of its own: it wants older releases of confluent-kafka and pydantic than riverd.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import kafka_topics
import psutil
import rows
from rich.console import Console
from rich.table import Table
from throughput import CONFIG, LABELS

from deploy.kafka.local_broker import LocalBroker, free_port

PAIRS = 500_000
BURST = 100_000
RIVER_PAIRS = 200_000
QUIX_PAIRS = 20_000
WARM_PAIRS = 20_000
GAP = 100_000  # rows left out before a burst: more than the longest delay, so its events lie behind all warm-up labels
ROUNDS = 3
DEADLINE_S = 120.0
GOALS = {"kafka-python": 60_000, "confluent": 150_000}  # pairs a second
STAGES = {
    "polled": "fetch",  # with what lies between two steps
    "decoded": "decode",
    "merged": "merge",
    "joined": "join",
    "learned": "score, learn",
    "judged": "judge",
    "ticked": "tick",
    "stepped": "rest",
}

READERS = Path(__file__).with_name("kafka_readers.py")
QUIX = Path(sys.prefix) / "quix" / "bin" / "python"
SOURCE = """\
kind = "kafka"
bootstrap_servers = ["{address}"]
client = "{client}"
"""
CHECKPOINT_AND_WEB = """\
checkpoint = "5s"
[web]
listen = "127.0.0.1:{port}"
"""


@dataclass
class Result:
    """What a reader did in each round."""

    name: str
    pairs: int = 0
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)  # and stop: what the whole process took beyond that
    stages: list[dict[str, float]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.pairs / statistics.median(self.wall_s)

    @property
    def rate_per_cpu(self) -> float:
        return self.pairs / statistics.median(self.cpu_s)


def configure(folder: Path, address: str, client: str, topics: tuple[str, str]) -> Path:
    text = CONFIG.replace('path = "{folder}"', SOURCE).replace("[monitors]", CHECKPOINT_AND_WEB + "[monitors]")
    config = folder / "riverd.toml"
    config.write_text(
        text.format(
            address=address, client=client, topic=topics[0], label="",
            labels=LABELS.replace('"outcomes"', f'"{topics[1]}"'), database=folder / "riverd.db", port=free_port(),
        )
    )  # fmt: skip
    return config


def read(result: Result, *command: str | Path) -> None:
    """Run a reader to its end."""
    began = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    whole_s = time.perf_counter() - began
    if ended.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{ended.stderr}")
    told = json.loads(ended.stdout.splitlines()[-1])
    result.pairs = told["pairs"]
    result.wall_s.append(told["wall_s"])
    result.cpu_s.append(told["cpu_s"])
    result.stages.append(told["stages"])
    result.start_s.append(whole_s - told["wall_s"])


def riverd(address: str, client: str, topics: tuple[str, str], result: Result) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        read(result, sys.executable, READERS, "riverd", configure(Path(scratch), address, client, topics))


def burst(address: str, client: str, folder: Path, topics: tuple[str, str], pairs: int, result: Result) -> None:
    """A riverd that has caught up gets so many pairs at once; measured is until the last has been learned."""
    kafka_topics.create(address, topics)
    first = WARM_PAIRS + GAP
    with tempfile.TemporaryDirectory() as scratch:
        config = configure(Path(scratch), address, client, topics)
        command = [sys.executable, READERS, "tail", config]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tailing:
            process = psutil.Process(tailing.pid)
            try:
                kafka_topics.send(address, folder, topics, first=0, behind=WARM_PAIRS)
                _wait(tailing, WARM_PAIRS)
                before_s = _cpu_s(process)
                sent_s = kafka_topics.send(address, folder, topics, first=first, behind=first + pairs)
                result.wall_s.append(_wait(tailing, WARM_PAIRS + pairs) - sent_s)
                result.cpu_s.append(_cpu_s(process) - before_s)
                result.pairs = pairs
            finally:
                tailing.terminate()
                tailing.communicate()  # it writes until it has stopped


def _wait(tailing: subprocess.Popen[str], resolved: int) -> float:
    """When so many pairs had taken effect."""
    assert tailing.stdout is not None
    end_s = time.monotonic() + DEADLINE_S
    for line in tailing.stdout:
        at_s, count = line.split()
        if int(count) >= resolved:
            return float(at_s)
        if time.monotonic() > end_s:
            break
    sys.exit(f"riverd has stopped, or not come to {resolved:,} pairs within {DEADLINE_S:.0f} s")


def _cpu_s(process: psutil.Process) -> float:
    """Of the daemon and its children."""
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    burst_pairs = int(sys.argv[2]) if len(sys.argv) > 2 else BURST
    console = Console(width=130)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}. Starting Kafka, and sending the rows ...")
    folder = rows.write(pairs)
    burst_folder = rows.write(WARM_PAIRS + GAP + burst_pairs)
    clients = {client: Result(f"riverd, {client}") for client in GOALS}
    bursts = {client: Result(f"riverd, {client}") for client in GOALS}
    river = Result("plain script: kafka-python, river")
    quix, quix_river = Result("quix-streams, join alone"), Result("quix-streams and river")
    with closing(LocalBroker()) as broker:
        address = broker.address
        warm = ("warm-events", "warm-outcomes")
        for topics, count in (warm, min(WARM_PAIRS, pairs)), (("events", "outcomes"), pairs):
            kafka_topics.create(address, topics)
            kafka_topics.send(address, folder, topics, first=0, behind=count)
        for client in GOALS:
            riverd(address, client, warm, Result("compiles"))
        for number in range(ROUNDS):
            console.print(f"Round {number + 1} of {ROUNDS} ...")
            for client in GOALS:
                riverd(address, client, ("events", "outcomes"), clients[client])
                assert clients[client].pairs == pairs, clients[client]
            read(river, sys.executable, READERS, "river", address, str(min(RIVER_PAIRS, pairs)))
            for peer, name in ((quix, "quix"), (quix_river, "quix-river")) if QUIX.exists() else ():
                read(peer, QUIX, READERS, name, address, str(min(QUIX_PAIRS, pairs)))
            for client in GOALS:
                topics = (f"events-{client}-{number}", f"outcomes-{client}-{number}")
                burst(address, client, burst_folder, topics, burst_pairs, bursts[client])
    show(console, clients, bursts, [river, quix, quix_river])


def show(console: Console, clients: dict[str, Result], bursts: dict[str, Result], peers: list[Result]) -> None:
    peers = [peer for peer in peers if peer.wall_s]
    table = Table("from first message to last effect", "pairs", "wall s (min, median, max)", "CPU s", "pairs/s",
                  "pairs per CPU s", "start, stop s")  # fmt: skip
    for result in (*clients.values(), *peers):
        table.add_row(*_cells(result), f"{statistics.median(result.start_s):.1f}")
    console.print(table)
    table = Table("lag after a burst", "pairs", "s until 0 (min, median, max)", "CPU s", "pairs/s", "pairs per CPU s")
    for result in bursts.values():
        table.add_row(*_cells(result))
    console.print(table)
    table = Table("where the time goes, ns per pair", *STAGES.values(), "all")
    for result in clients.values():
        spent = [statistics.median(round_.get(stage, 0.0) for round_ in result.stages) for stage in STAGES]
        cells = [f"{1e9 * seconds / result.pairs:,.0f}" for seconds in (*spent, sum(spent))]
        table.add_row(result.name, *cells)
    console.print(table)
    for client, goal in GOALS.items():
        rate = clients[client].rate
        console.print(f"{client}: {rate:,.0f} pairs/s (goal {goal:,})")
        for peer in peers:
            console.print(f"  {rate / peer.rate:.1f} x {peer.name}")
    if not QUIX.exists():
        console.print("quix-streams is not installed; make bench-kafka does that.")


def _cells(result: Result) -> list[str]:
    wall = f"{min(result.wall_s):.2f} {statistics.median(result.wall_s):.2f} {max(result.wall_s):.2f}"
    cpu = f"{statistics.median(result.cpu_s):.2f}"
    return [result.name, f"{result.pairs:,}", wall, cpu, f"{result.rate:,.0f}", f"{result.rate_per_cpu:,.0f}"]


if __name__ == "__main__":
    main()
