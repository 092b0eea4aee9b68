"""Writes the transcripts in this folder: four strangers' files, from nothing to a first alert.

python docs/strangers/make.py            write them
python docs/strangers/make.py --check    end with 1 if they are not what riverd says now
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER.parents[1]))

from docs.strangers.data_sets import DATA_SETS, DataSet  # noqa: E402
from riverd.cli import main as riverd  # noqa: E402


@dataclass(frozen=True, slots=True)
class Told:
    """What riverd said of one stream."""

    init: str
    check: str
    config: str
    result: dict[str, Any]  # of the run


def tell(data_set: DataSet, folder: Path, *, faulty: bool) -> Told:
    """Write the stream, and take it from its files to the end of a run without touching the config."""
    home = folder / data_set.name  # the model is called after its folder
    home.mkdir(parents=True)
    data_set.write(home, faulty)
    with _inside(home):
        init = _said(["init", *data_set.arguments])
        check = _said(["check"])
        result = json.loads(_said(["run", "--until-idle", "--json"]))
        return Told(init, check, Path("riverd.toml").read_text(encoding="utf-8"), result)


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _said(arguments: Sequence[str]) -> str:
    with redirect_stdout(io.StringIO()) as output:
        code = riverd(list(arguments))
    if code != 0:
        raise RuntimeError(f"riverd {' '.join(arguments)} ended with {code}:\n{output.getvalue()}")
    return output.getvalue()


def transcript(data_set: DataSet, clean: Told, faulty: Told) -> str:
    """The page of one data set; it says that the clean stream is quiet, so it must be."""
    if clean.result["alerts"] or not faulty.result["alerts"]:
        raise RuntimeError(
            f"{data_set.name}: alerts of the clean stream {clean.result['alerts']}, of the faulty one "
            f"{faulty.result['alerts']}; expected none, and some."
        )
    asked = " ".join(data_set.arguments)
    alerts = "".join(f"{json.dumps(_shown(alert))}\n" for alert in faulty.result["alerts"])
    return f"""\
# {data_set.name.capitalize()}

{data_set.about} Made by [data_sets.py](data_sets.py); this page by [make.py](make.py).

## As it should be

```console
$ riverd init {asked}
{clean.init}
$ riverd check
{clean.check}
$ riverd run --until-idle --json | jq -c '.alerts[]'
```

No alert in {clean.result["counts"]["messages"]:,} messages. What `riverd init` wrote:

```toml
{clean.config}```

## With a fault planted halfway

{data_set.fault} (At {data_set.fault_at:%Y-%m-%d %H:%M:%S} UTC.) The same commands, with no edit between:

```console
$ riverd init {asked}
{faulty.init}
$ riverd run --until-idle --json | jq -c '.alerts[]'
{alerts}```
"""


def _shown(alert: dict[str, Any]) -> dict[str, Any]:
    """Without the digits in which processors may differ."""
    return alert | {"value": round(alert["value"], 3)}


def pages() -> Iterator[tuple[Path, str]]:
    """Every page with what should stand on it."""
    for data_set in DATA_SETS:
        with tempfile.TemporaryDirectory() as folder:
            clean = tell(data_set, Path(folder) / "clean", faulty=False)
            faulty = tell(data_set, Path(folder) / "faulty", faulty=True)
        yield FOLDER / f"{data_set.name}.md", transcript(data_set, clean, faulty)


def main(arguments: Sequence[str]) -> int:
    stale = 0
    for path, text in pages():
        if "--check" in arguments:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                print(f"{path} is not what riverd says now.\n  Run:  python docs/strangers/make.py")
                stale = 1
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
