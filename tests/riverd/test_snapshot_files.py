"""``riverd snapshots export``, ``import`` and ``diff``: what another riverd gets, and what it does not take."""

import json
import zipfile

import numpy as np
import pytest

from riverd.cli import main
from storage.arrays import decode, encode
from storage.blocks import sha256_of
from tests.riverd.streams import pairs, settings, split, to_toml, write


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A folder whose model has learned 300 pairs, with its snapshot 1 in ``one.zip``."""
    folder = tmp_path_factory.mktemp("learned")
    write(split(pairs(300, seed=3), partitions=1), folder / "data")
    configure(folder)
    run(folder, "run", "--until-idle")
    assert run(folder, "snapshots", "export", "1", str(folder / "one.zip")) == 0
    return folder


@pytest.fixture
def other(tmp_path, learned):
    """A riverd that has not run yet, of the same features, with a stream of its own."""
    write(split(pairs(300, seed=4), partitions=1), tmp_path / "data")
    configure(tmp_path)
    return tmp_path


def configure(folder, **changes):
    values = settings(alerts=[], source={"kind": "files", "path": "data"}, **changes)
    (folder / "riverd.toml").write_text(to_toml(values))


def run(folder, *arguments):
    return main([*arguments, "-c", str(folder / "riverd.toml"), "--json"])


def printed(capsys, folder, *arguments):
    capsys.readouterr()
    assert run(folder, *arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_another_riverd_serves_by_it_from_its_first_event(learned, other, capsys):
    added = printed(capsys, other, "snapshots", "import", str(learned / "one.zip"))
    assert (added["number"], added["new"]) == (1, True)
    again = printed(capsys, other, "snapshots", "import", str(learned / "one.zip"))
    assert (again["number"], again["new"]) == (1, False)
    here, there = (printed(capsys, folder, "snapshots", "show", "1") for folder in (other, learned))
    assert here["sha256"] == there["sha256"]
    assert here["lineage"]["born"] == "import"
    assert here["lineage"]["imported"] == {
        "name": "shops",
        "number": 1,
        "reason": "stopped",
        "born": "live",
        "parent": None,
        "start": None,
    }
    assert printed(capsys, other, "snapshots", "verify") == {"1": "bytes intact; not verifiable: it was imported"}
    printed(capsys, other, "snapshots", "promote", "1", "--wait", "0")
    run(other, "run", "--until-idle")
    listed = printed(capsys, other, "snapshots", "list")
    assert [(each["number"], each["reason"], each["lineage"]["parent"]) for each in listed] == [
        (4, "stopped", 3),
        (3, "promotion to snapshot 1", 1),
        (2, "before the promotion to snapshot 1", None),
        (1, "import of shops 1", None),
    ]
    before, after = (printed(capsys, other, "snapshots", "show", number) for number in ("1", "4"))
    assert after["asked"] == before["asked"] + 300  # it went on from what was learned elsewhere
    assert printed(capsys, other, "snapshots", "diff", "1", "3")["weights"]["moved_most"] == 0.0


def test_what_sets_two_apart(learned, other, capsys):
    printed(capsys, other, "snapshots", "import", str(learned / "one.zip"))
    run(other, "run", "--until-idle")
    told = printed(capsys, other, "snapshots", "diff", "1", "2")
    assert told["lineage"]["born"] == ["import", "live"]
    weights = told["weights"]
    assert weights["both"] > 5
    assert weights["moved_rms"] > 0.0
    assert weights["moved_most"] >= weights["moved_rms"]
    assert weights["bias"][0] != weights["bias"][1]
    assert main(["snapshots", "diff", "1", "2", "-c", str(other / "riverd.toml")]) == 0
    text = capsys.readouterr().out
    assert '"import"' in text
    assert "in both" in text
    alike = printed(capsys, other, "snapshots", "diff", "2", "2")
    assert (alike["lineage"], alike["weights"]["moved_far"], alike["weights"]["first"]) == ({}, 0, 0)


def test_a_file_that_is_there_is_not_overwritten(learned, capsys):
    path = learned / "one.zip"
    before = path.read_bytes()
    assert run(learned, "snapshots", "export", "1", str(path)) == 1
    assert "is there already" in capsys.readouterr().err
    assert run(learned, "snapshots", "export", "1", str(path), "--force") == 0
    assert zipfile.ZipFile(path).read("model") == zipfile.ZipFile(path).read("model")
    assert len(path.read_bytes()) == len(before)
    assert run(learned, "snapshots", "export", "9", str(learned / "nine.zip")) == 1
    assert run(learned, "snapshots", "export", "1", "/nowhere/at/all.zip") == 1
    assert "/nowhere/at/all.zip can't be written: No such file" in capsys.readouterr().err
    assert [found.name for found in learned.glob("*.zip")] == ["one.zip"]
    assert not list(learned.glob(".*zip*"))


def repacked(source, target, *, model=None, about=None):
    """The same file with something else in it, its sha256 put right."""
    with zipfile.ZipFile(source) as archive:
        told, data = json.loads(archive.read("snapshot.json")), archive.read("model")
    data = data if model is None else model(data)
    told |= {"sha256": sha256_of(data)} | (about or {})
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("snapshot.json", json.dumps(told))
        archive.writestr("model", data)
    return target


def with_array(name, change):
    def changed(data):
        header, arrays = decode(data)
        arrays[name] = change(arrays[name])
        return encode(header, arrays)

    return changed


def put(array, place, value):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"about": {"sha256": "0" * 64}}, "it is damaged"),
        ({"about": {"format": 2}}, "it is of format 2, and this riverd reads 1"),
        ({"about": {"lineage": 3}}, "Expected `object`, got `int`"),
        ({"model": lambda _: b"nothing"}, "do not begin like a blob"),
        ({"model": lambda data: encode({}, decode(data)[1])}, "learned_from"),
        ({"model": with_array("weights", lambda a: put(a, (0, 0), np.nan))}, "weights has values that are no numbers"),
        ({"model": with_array("weights", lambda a: put(a, (0, 0), np.inf))}, "weights has values that are not finite"),
        ({"model": with_array("sample", lambda a: put(a, (0, 0), np.nan))}, "sample has values that are no numbers"),
        ({"model": with_array("weights", lambda a: a.astype(np.float32))}, "weights is float32"),
        ({"model": with_array("weights", lambda a: a[:-1])}, "weights is float64"),
        ({"model": with_array("slots", lambda a: put(a, 0, -1))}, "slots lie outside 0"),
        ({"model": with_array("slots", lambda a: put(a, -1, 1 << 40))}, "slots lie outside 0"),
        ({"model": with_array("slots", lambda a: a[::-1].copy())}, "slots are not whole numbers that rise"),
        ({"model": with_array("sampled", lambda a: a + 65)}, "sampled lies outside 0 to 64"),
        ({"model": with_array("counters", lambda a: a[:2])}, "counters is int64 (2,)"),
    ],
)
def test_what_is_not_taken(change, says, learned, other, tmp_path, capsys):
    path = repacked(learned / "one.zip", tmp_path / "changed.zip", **change)
    assert run(other, "snapshots", "import", str(path)) == 1
    assert says in capsys.readouterr().err
    assert printed(capsys, other, "snapshots", "import", str(learned / "one.zip"))["number"] == 1  # nothing was added


def test_a_file_that_is_none(learned, other, tmp_path, capsys):
    cut = tmp_path / "cut.zip"
    cut.write_bytes((learned / "one.zip").read_bytes()[:-50])
    text = tmp_path / "text.zip"
    text.write_text("hello")
    empty = tmp_path / "empty.zip"
    zipfile.ZipFile(empty, "w").close()
    for path in (cut, text, empty):
        assert run(other, "snapshots", "import", str(path)) == 1
        assert "is no snapshot that can be imported" in capsys.readouterr().err
    assert run(other, "snapshots", "import", str(tmp_path / "none.zip")) == 1
    assert "No such file" in capsys.readouterr().err


def test_one_of_other_settings_is_not_taken(learned, other, capsys):
    changed = settings()["model"] | {"bits": 11}
    configure(other, model=changed)
    assert run(other, "snapshots", "import", str(learned / "one.zip")) == 1
    error = capsys.readouterr().err
    assert "[model] bits:" in error
    assert "11 here" in error
