"""What ``riverd init`` says of files as newcomers bring them: a place and a remedy, or a config that works."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
import zstandard

from riverd.assembly import assemble
from riverd.cli import main
from riverd.load_config import load_config
from riverd.start.config_text import config_text
from riverd.start.inference import infer
from riverd.start.sample import MESSAGE_BYTES
from stream.source import Batch, Partition
from tests.riverd.samples import NOW_US, START_S, events, sample, shop, written

pytestmark = pytest.mark.usefixtures("home")

ROWS = shop(300)
HEADER = ",".join(ROWS[0])
CSV = "".join(f"{','.join(map(str, row.values()))}\n" for row in ROWS)
LINES = "".join(f"{json.dumps(row)}\n" for row in ROWS)
LONG = json.dumps(ROWS[0] | {"note": "x" * MESSAGE_BYTES})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "a.jsonl holds no messages.\n  Check that it is the right file"),
        ("a.jsonl", "\n \n", "a.jsonl holds no messages"),
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", HEADER + "\n", "a.csv holds no messages"),
        ("a.jsonl", LINES[: LINES.index("\n")], "a.jsonl: 1 different message is too few to tell what the fields are"),
        ("a.csv", "\n".join([HEADER, *CSV.splitlines()[:1]]), "1 different message is too few"),
        ("a.csv", (HEADER + CSV).replace(",", ";"), "separates fields by ';', not by ','.\n  Save it with commas"),
        ("a.csv", (HEADER + CSV).encode("utf-16"), "a.csv, near line 1: 'utf-8' codec can't decode"),
        ("a.csv", f'{HEADER}\n1,2,"a,0.5,true\n{CSV * 40}', "a.csv, the row after line 1: field larger than"),
        ("a.jsonl", LINES.encode("utf-16"), "a.jsonl is text in UTF-16.\n  Save it in UTF-8"),
        ("a.jsonl", "hello\nworld\n", "none of 2 messages is a JSON object; the first begins 'hello'"),
        ("a.jsonl", f"{LONG}\n", "a.jsonl: every message is longer than 1.0 MB"),
        ("a.jsonl.gz", gzip.compress(LINES.encode())[:-9], "a.jsonl.gz can't be decompressed"),
        ("a.csv.zst", zstandard.compress(f"{HEADER}\n{CSV}".encode())[:-9], "a.csv.zst can't be decompressed"),
        ("a.parquet.gz", b"", "Parquet is read from plain files only"),
        ("a.jsonl.xz", b"", "compressed in a way that is not read"),
    ],
)
def test_a_file_that_will_not_do_is_refused_by_name(name, text, message, capsys):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["init", "--sample", name]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n  ") == 1
    assert [path.name for path in Path().iterdir()] == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--label", "bougt"],
            "has no such field.\n  Did you mean bought? Its fields are: amount, bought, id, shop, ts.",
        ),
        (["--label", "shop=e"], '--label shop=e: shop does not hold that; it holds "'),
        (["--label", "amount"], "or one of a few values.\n  Choose another field, or convert it"),
        (["--label", 'q"d'], "the field can't be read, its name"),
        (["--labels", "a.jsonl"], "a.jsonl is given as events and as labels.\n  Leave --labels out"),
        (
            ["--labels", "other.jsonl"],
            "no field of it equals an id of a.jsonl (tried id), nor do two or three together",
        ),
        (["--sample", "empty"], "empty holds no messages.\n  Check that it is the right folder"),
    ],
)
def test_a_question_that_can_not_be_answered_is_explained(arguments, message, capsys):
    name = {'q"d': 1} if arguments[1].startswith("q") else {}
    sample([row | name for row in ROWS], "a.jsonl")
    sample([{"n": i + 10**6, "ts": START_S + i, "y": i % 2} for i in range(100)], "other.jsonl")
    Path("empty").mkdir()
    assert main(["init", "--sample", "a.jsonl", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert not Path("riverd.toml").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", b"\xef\xbb\xbf" + f"{HEADER}\n{CSV}".encode()),
        ("a.csv.gz", gzip.compress(f"{HEADER}\n{CSV}".encode())),
        ("a.jsonl", LINES.encode()),
        ("a.jsonl.zst", zstandard.compress(LINES.encode())),
        ("a.json.gz", gzip.compress(json.dumps(ROWS, indent=1).encode())),
        ("a.jsonl", f"{LINES}{LONG}\n".encode()),
    ],
)
def test_the_same_rows_give_the_same_config(name, text):
    Path(name).write_bytes(text)
    assert main(["init", "--sample", name]) == 0
    assert {path.name for path in Path("data/a").iterdir()} == {"a.jsonl"}
    values = written()
    assert values["events"] == {"topic": "a", "id": "id", "time": "ts", "label": "bought"}
    assert values["features"] == {"categories": ["shop"], "numbers": ["amount"], "time_parts": []}
    assert ("1 more, longer than 1.0 MB" in Path("riverd.toml").read_text(encoding="utf-8")) == (LONG.encode() in text)


def test_topic_folders_may_be_compressed():
    Path("there/visits").mkdir(parents=True)
    Path("there/visits/0.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    assert main(["init", "--sample", "there/visits", "--out", "there/riverd.toml"]) == 0
    assert main(["check", "-c", "there/riverd.toml"]) == 0


def test_two_hundred_columns_and_names_in_any_script(capsys):
    rng = random.Random(1)
    wide = [
        row | {f"c{j}": rng.choice("abc") for j in range(100)} | {f"größe.{j}": rng.random() for j in range(100)}
        | {"店": {"名.x": rng.choice("一二三")}, 'q"d': 1, "": 2, "late\nat": 3}
        for row in ROWS
    ]  # fmt: skip
    sample(wide)
    assert main(["init", "--sample", "events.jsonl"]) == 0
    features = written()["features"]
    assert (len(features["categories"]), len(features["numbers"])) == (102, 101)
    assert "店.名\\.x" in features["categories"]
    assert '# "q\\"d"' in Path("riverd.toml").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["check"]) == 0
    assert "300 messages read, 0 can't be decoded" in capsys.readouterr().out


def strange(rng, deep=0):
    """Any value that JSON can hold."""
    if deep < 3 and rng.random() < 0.1:
        return {"k": 1, "a.b": strange(rng, deep + 1)}
    scalars = [
        None,
        True,
        rng.randrange(3),
        rng.random(),
        10**25,
        1e308,
        "ab"[rng.randrange(2)],
        f"s{rng.random()}",
        "",
    ]
    return rng.choice([*scalars, ["a", "b"], [1, None], START_S])


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_fields_hold_what_is_written_can_be_decoded(seed):
    rng = random.Random(seed)
    makers = [lambda _: strange(rng), lambda i: [1, "x", None, {"z": 2}][i % 4], lambda i: {"in": i % 7, "on": i % 2}]
    names = rng.sample(["a", "a.b", 'q"', "", "\u2028", "o", "tags", "ü" * 250], 4)
    fields = {name: rng.choice(makers) for name in names}
    read = sample(events(60, **fields, ok=lambda i: "xy"[i % 2], late=lambda i: i % 3 == 0))
    inferred = infer(read, None, name="x", topics=("e", ""), label="late", now_us=NOW_US)
    Path("x.toml").write_text(config_text(inferred, "data", read, None), encoding="utf-8")
    decoder = assemble(load_config(Path("x.toml")), now_us=lambda: NOW_US).event_decoder
    batch = Batch(Partition("e", "0"), np.arange(60), 60, read.messages)
    assert decoder.decode(batch, 0).reasons == {}
