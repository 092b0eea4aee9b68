"""Kill riverd 300 times while it works off a year of flights; the end must be that of an undisturbed run.

Prints figures, and exits with 1 if anything differs: the learned state, the books, the metrics, the alerts or the
dead letters.
"""

import argparse
import json
import logging
import os
import random
import select
import shutil
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from riverd import service
from riverd.demo import CONFIG
from riverd.flights import write_topics
from riverd.load_config import load_config
from riverd.replay import replay
from riverd.time_ranges import Stretch

HERE = Path(__file__).resolve().parent / "data" / "torture"


def prepare(folder):
    """An empty state beside a config that checkpoints whenever it can."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    text = CONFIG.replace('path = "data"', f"path = {json.dumps(str(HERE / 'topics'))}\npoll_records = 2048")
    text = text.replace('checkpoint = "1s"', 'checkpoint = "0s"')
    (folder / "riverd.toml").write_text(text, encoding="utf-8")
    return folder / "riverd.toml"


def write_messages():
    """The year of flights, and a partition of repeated and of undecodable messages: dead letters could be lost too."""
    write_topics(HERE / "topics")
    litter = HERE / "topics" / "flights" / "litter.jsonl"
    lines = (HERE / "topics" / "flights" / "0.jsonl").read_bytes().splitlines()[::1000]
    litter.write_bytes(b"".join(line[:-9] + b"\n" + line + b"\n" for line in lines))


def spawn(config_path):
    """Work off what is there in a child; its final object comes through the pipe."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    code = 1
    try:
        result = service.run(load_config(config_path), config_path, until_idle=True).result
        with os.fdopen(writing, "w") as output:
            json.dump(result, output)
        code = 0
    finally:
        os._exit(code)


def collect(pid, reading):
    """The exit code or minus the signal, and the final object if there is one."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(reading, "rb") as output:
        text = output.read()
    return code, json.loads(text) if code == 0 else None


def kill_after(pid, seconds):
    """Kill the child after so long, unless it has ended."""
    pidfd = os.pidfd_open(pid)
    if not select.select([pidfd], [], [], seconds)[0]:
        os.kill(pid, signal.SIGKILL)
    os.close(pidfd)


def facts(folder, result):
    """All that must be equal, by name."""
    with closing(sqlite3.connect(folder / "riverd.db")) as connection:
        alerts = connection.execute("SELECT * FROM alerts ORDER BY rule, started_at").fetchall()
        columns = "id, topic, partition, position, reason, payload"
        letters = connection.execute(f"SELECT {columns} FROM dead_letters ORDER BY id").fetchall()
    steady = {key: value for key, value in result.items() if key not in ("seconds", "events_per_second")}
    return steady | {"alerts table": alerts, "dead letters": letters}


def end(config_path):
    code, result = collect(*spawn(config_path))
    if result is None:
        sys.exit(f"an undisturbed run ended with {code}")
    return result


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=300)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    rng = random.Random(chosen.seed)
    write_messages()
    logging.getLogger("riverd").setLevel(logging.CRITICAL)
    calm = prepare(HERE / "calm")
    replay(load_config(calm), calm, stretch=Stretch(to_us=1_358_000_000_000_000))  # children inherit what it compiles
    undisturbed = end(calm)
    print(
        f"undisturbed: {undisturbed['counts']['messages']:,} messages in {undisturbed['seconds']:.1f} s, "
        f"{len(undisturbed['alerts'])} alerts, {undisturbed['counts']['dead']:,} dead letters, "
        f"model {undisturbed['model_sha256'][:12]}"
    )
    expected = facts(calm.parent, undisturbed)

    began_s, killed, runs = time.monotonic(), 0, 0
    longest_s = 2 * undisturbed["seconds"] / 20
    while killed < chosen.kills:
        # one run bears some twenty kills, then comes the next from the beginning
        tortured = prepare(HERE / "tortured")
        runs += 1
        while killed < chosen.kills:
            pid, reading = spawn(tortured)
            kill_after(pid, rng.random() * longest_s)
            code, _ = collect(pid, reading)
            killed += code == -signal.SIGKILL
            if code not in (0, -signal.SIGKILL):
                sys.exit(f"a child ended with {code}")
            if code == 0:
                break
        got = facts(tortured.parent, end(tortured))
        differing = [name for name in expected if got[name] != expected[name]]
        if differing:
            print(f"run {runs}, {killed} kills: {', '.join(differing)} differ; see {tortured.parent}", file=sys.stderr)
            sys.exit(1)
        print(f"run {runs}: {killed} kills so far, all equal")
    print(f"{killed} kills in {runs} runs, {time.monotonic() - began_s:.0f} s: every end equals the undisturbed one")


if __name__ == "__main__":
    main()
