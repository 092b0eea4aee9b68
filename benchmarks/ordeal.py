"""A million pairs through Kafka into PostgreSQL while riverd, the broker and the database are killed 100 times.

Prints figures, and fails if an event or a label took effect other than once, or two replays differ.
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.system.kafka import Kafka
from tests.system.ordeal import Stream, check_truth, endure, replays_are_equal
from tests.system.postgres import Postgres


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pairs", type=int, default=1_000_000)
    options.add_argument("--kills", type=int, default=100)
    chosen = options.parse_args()
    kafka, postgres = Kafka(), Postgres()
    stream, began_s = Stream(pairs=chosen.pairs, seed=1), time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as scratch, postgres.database(template=postgres.with_tables) as url:
            ended = endure(kafka, postgres, url, Path(scratch) / "run", stream, kills=chosen.kills)
            check_truth(ended, stream)
            kills = ", ".join(f"{what} {count}" for what, count in sorted(ended["killed"].items()))
            print(f"{ended['sent']:,} messages, {chosen.kills} kills ({kills}) in {time.monotonic() - began_s:.0f} s:")
            print(f"every event and label took effect once; {ended['result']['counts']}")
            print(f"two replays agree to the bit: model {replays_are_equal(Path(scratch) / 'run')[:12]}")
    finally:
        kafka.close()
        postgres.close()


if __name__ == "__main__":
    main()
