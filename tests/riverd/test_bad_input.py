"""Whatever else lies in the files, the engine learns what it learns without it, and says what it left out."""

import json
import os
import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riverd.service import run as run_service
from stream.files import FileSource
from stream.memory import MemorySource
from stream.source import Partition
from tests.riverd.streams import config, engine_on, finish, outcome, pairs, split, write

EVENTS, LABELS = Partition("events", "0"), Partition("labels", "0")
CONFIG = config(source={"poll_records": 64})
CLEAN = split(pairs(250, seed=9), partitions=1)

WRONG_VALUES = (
    "[]",
    "{}",
    '"text"',
    "NaN",
    "Infinity",
    "1e999",
    "-1",
    "null",
    '"\\ud800"',
    '"' + "9" * 400 + '"',
    "9" * 400,
)
TIMES = (
    "4102444800",
    '"2099-01-01T00:00:00Z"',
    '"soon"',
    "-5",
    "null",
    "[1]",
    "true",
    "1e300",
    '"0001-01-01T00:00:00Z"',
)


def never_a_message(line):
    """Neither an event nor a label, nor blank, and one line."""
    if b"\n" in line or not line.strip():
        return False
    try:
        return not isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return True


def objects(fields):
    return st.fixed_dictionaries(fields).map(
        lambda o: ("{" + ", ".join(f'"{name}": {value}' for name, value in o.items()) + "}").encode()
    )


# each of these is wrong in at least one field that riverd reads, as an event and as a label
WITHOUT_TIME = objects({"id": st.sampled_from(['"e1"', '"e77"', "5"]), "at": st.sampled_from(TIMES), "y": st.just("1")})
WITHOUT_ID = objects(
    {"id": st.sampled_from(["[]", "{}", "null", "1.5", "true", '""']), "at": st.just("1357000100"), "y": st.just("1")}
)
WRONG_FIELD = objects(
    {
        "id": st.just('"e1"'),
        "at": st.just("1357000100"),
        "x": st.sampled_from(["[]", "{}", '"7"', "NaN", "1e999", "true"]),
        "y": st.sampled_from(["2", "-1", "0.5", '"yes"', "NaN", "null", "[]"]),
    }
)
CUT = st.integers(1, 40).map(lambda n: CLEAN[EVENTS][3][:n])
DEEP = st.sampled_from([b"[" * 100_000, b'{"id": ' * 5_000])
NO_OBJECT = st.sampled_from(WRONG_VALUES).map(str.encode)
BYTES = st.binary(min_size=1, max_size=60)
garbage = st.one_of(BYTES, CUT, DEEP, NO_OBJECT).filter(never_a_message) | WITHOUT_TIME | WITHOUT_ID | WRONG_FIELD
litter = st.lists(st.tuples(st.sampled_from([EVENTS, LABELS]), st.integers(0, 250), garbage), max_size=30)


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    return read(CLEAN, tmp_path_factory.mktemp("clean"))


def read(topics, folder):
    write(topics, folder)
    source = FileSource(folder, ["events", "labels"], bounded=True, max_message_bytes=64 * 1024)
    engine = engine_on(source, CONFIG)
    finish(engine)
    source.close()
    return engine


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(litter=litter)
def test_garbage_goes_to_the_dead_letters(litter, without, tmp_path):
    littered = {partition: list(messages) for partition, messages in CLEAN.items()}
    for partition, place, line in litter:
        littered[partition].insert(place, line)
    engine = read(littered, tmp_path)

    clean, dirty = outcome(without), outcome(engine)
    added = len(litter)
    assert dirty["counts"].pop("messages") == clean["counts"].pop("messages") + added
    assert dirty["counts"].pop("dead") == clean["counts"].pop("dead") + added
    for one in (clean, dirty):  # they tell of messages too
        one["windows"] = {
            of: judged._replace(traffic=replace(judged.traffic, messages=0, dead_share=None))
            for of, judged in one["windows"].items()
        }
    assert dirty == clean

    before = sorted((letter.topic, letter.payload) for letter in without.unsaved.dead_letters)
    expected = sorted(before + [(partition.topic, line[: 1 << 16]) for partition, _, line in litter])
    letters = engine.unsaved.dead_letters
    assert sorted((letter.topic, letter.payload) for letter in letters) == expected
    for letter in letters:
        # the position is where the line begins in the file
        data = (tmp_path / letter.topic / f"{letter.partition}.jsonl").read_bytes()
        assert data[letter.position :].startswith(letter.payload)
        assert letter.position == 0 or data[letter.position - 1 : letter.position] == b"\n"
        assert re.search(r"\w{3}", letter.reason)
        assert letter.reason != "unknown"


@pytest.mark.parametrize(
    ("topic", "line", "reason"),
    [
        (EVENTS, b'{"id": "e1"', "truncated"),
        (
            EVENTS,
            b'{"id": "e1", "at": 4102444800}',
            r"at is 2100-01-01T00:00:00Z, \d+ years ahead of this machine's clock",
        ),
        (EVENTS, b'{"id": "e1", "at": "soon"}', "at"),
        (EVENTS, b'{"id": "", "at": 1357000100}', "id is empty"),
        (EVENTS, b'{"at": 1357000100}', "missing required field `id`"),
        (EVENTS, b'{"id": "e1", "at": 1357000100, "x": "7"}', r"Expected `float \| null`, got `str` - at `\$.x`"),
        (LABELS, b'{"id": "e1", "at": 1357000100, "y": 2}', "y is 2; a label is true or false, 1 or 0"),
        (LABELS, b'{"id": "e1", "at": 1357000100}', "y is missing; a label is true or false, 1 or 0"),
        (LABELS, b'{"id": "e1", "y": 1}', "at is not a time"),
        (EVENTS, b"x" * 70_000, "the message has 70,000 bytes, more than max_message_bytes = 65,536"),
    ],
)
def test_the_reason_says_what_is_wrong(topic, line, reason, tmp_path):
    engine = read({EVENTS: [], LABELS: []} | {topic: [line]}, tmp_path)
    [letter] = engine.unsaved.dead_letters
    assert re.search(reason, letter.reason), letter.reason
    assert engine.parts.model.sha256 == engine_on(MemorySource({}), CONFIG).parts.model.sha256


def test_a_line_of_100_mb_is_one_dead_letter_and_never_in_memory(tmp_path):
    topics = split(pairs(50, seed=9), partitions=1)

    def peak_kib(folder):
        """Of a child that works off the folder, and what it counted."""
        pid = os.fork()
        if pid == 0:
            try:
                configured = config(storage={"url": f"sqlite:///{folder}/riverd.db"})
                counts = run_service(configured, folder / "riverd.toml", until_idle=True).result["counts"]
                (folder / "counts.json").write_text(json.dumps(counts))
            except BaseException:
                os._exit(1)
            os._exit(0)
        _, status, usage = os.wait4(pid, 0)
        assert status == 0
        return usage.ru_maxrss, json.loads((folder / "counts.json").read_text())

    write(topics, tmp_path / "small" / "data")
    small_kib, small = peak_kib(tmp_path / "small")
    write(topics, tmp_path / "large" / "data")
    with (tmp_path / "large" / "data" / "events" / "0.jsonl").open("r+b") as file:
        lines = file.readlines()
        file.seek(0)
        file.write(b"".join(lines[:20]) + b'{"id": "')
        for _ in range(100):  # not held here either: the child begins with all that its parent holds
            file.write(b"e" * 1_000_000)
        file.write(b'"}\n' + b"".join(lines[20:]))
    large_kib, large = peak_kib(tmp_path / "large")
    assert large == small | {"messages": small["messages"] + 1, "dead": small["dead"] + 1}
    assert large_kib - small_kib < 50_000
