"""The flights of 2013 through a real Kafka on this machine: ``make demo-kafka``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

from kafka import KafkaAdminClient, KafkaProducer
from rich.console import Console
from rich.progress import Progress

from deploy.kafka.local_broker import LocalBroker, NotInstalledError
from riverd import service
from riverd.demo import CONFIG
from riverd.flights import write_topics
from riverd.load_config import load_config
from riverd.screen.terminal import LiveScreen, summary

FOLDER = Path("riverd-demo")
PARTITIONS = 3
SOURCE = """\
kind = "kafka"
bootstrap_servers = ["{address}"]
client = "{client}"
"""


def main() -> int:
    console = Console()
    try:
        with console.status("Starting Kafka (the first time its jars are fetched, 44 MB)"):
            broker = LocalBroker()
    except NotInstalledError as error:
        console.print(f"{error}.\n  Install it, or see the same flights from files:  make demo")
        return 1
    with closing(broker):
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Writing a year of flights", total=1.0)
            write_topics(FOLDER / "data", progress=lambda share: progress.update(task, completed=share))
            task = progress.add_task("Sending them to Kafka", total=1.0)
            for share in _send(broker.address):
                progress.update(task, completed=share)
        config_path = _configure(broker.address)
        with LiveScreen(console) as screen:
            ended = service.run(load_config(config_path), config_path, until_idle=True, show=screen.update)
        console.print(summary(ended.status, width=console.width, next_steps=[]))
    return 0


def _send(address: str) -> Iterator[float]:
    """Each flight and its arrival to a partition by its text; yields the share that is done."""
    with closing(KafkaAdminClient(bootstrap_servers=address)) as admin:
        admin.create_topics({topic: {"num_partitions": PARTITIONS} for topic in ("flights", "arrivals")})
    files = [FOLDER / "data" / topic / "0.jsonl" for topic in ("flights", "arrivals")]
    total, sent = sum(file.stat().st_size for file in files), 0
    with closing(KafkaProducer(bootstrap_servers=address, linger_ms=20, batch_size=1 << 16)) as producer:
        for file in files:
            with file.open("rb") as lines:
                for number, line in enumerate(lines):
                    producer.send(file.parent.name, line.rstrip(b"\n"), partition=crc32(line) % PARTITIONS)
                    sent += len(line)
                    if number % 1000 == 0:
                        yield sent / total
        producer.flush()


def _configure(address: str) -> Path:
    client = "kafka-python" if find_spec("confluent_kafka") is None else "confluent"
    before, _, behind = CONFIG.partition('path = "data"')
    config = before + SOURCE.format(address=address, client=client) + behind.partition("\n")[2]
    for name in ("kafka.db", "kafka.db-wal", "kafka.db-shm"):
        (FOLDER / name).unlink(missing_ok=True)
    path = FOLDER / "kafka.toml"
    path.write_text(config.replace("riverd.db", "kafka.db"), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
