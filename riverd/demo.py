"""The flights of 2013 through the daemon's own path, from nothing to a first alert."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from riverd import service
from riverd.flights import write_topics
from riverd.load_config import load_config
from riverd.screen.terminal import LiveScreen, summary

CONFIG = """\
# riverd on the flights that left New York in 2013: will one arrive more than 15 minutes late?
# Labels come when the plane does; cancelled and diverted flights never get one.

[model]
name = "late-flights"

[source]
path = "data"                   # data/flights/*.jsonl and data/arrivals/*.jsonl

[events]
topic = "flights"
id = "id"
time = "scheduled_at"

[labels]
topic = "arrivals"
id = "id"
time = "arrived_at"
value = "late"
window = "36h"                  # no flight of that year landed later than this

[features]
categories = ["carrier", "origin", "dest"]
numbers = ["distance", "planned_minutes", "temp", "dewp", "humid", "wind_speed",
           "wind_gust", "precip", "pressure", "visib"]
crosses = [["carrier", "origin"], ["origin", "hour"], ["carrier", "dest"]]
time_parts = ["hour", "weekday"]

[storage]
url = "sqlite:///riverd.db"
checkpoint = "1s"               # a year passes in seconds here; the default is a minute

[monitors]
windows = ["1d", "7d"]
slices = ["carrier"]            # quality apart for each airline

[[alerts]]
name = "many-late"              # snow, thunderstorms, holidays: the world has changed, for a day
metric = "positive_rate"
window = "1d"
above = 0.55
for = "2h"
recover = 0.45

[[alerts]]
name = "logloss-high"
metric = "logloss"
window = "1d"
above = 0.75
for = "6h"
recover = 0.65
action = ["log", "retrain"]     # a challenger has to prove itself in shadow

[[alerts]]
name = "labels-missing"         # cancelled flights never arrive
metric = "coverage"
window = "1d"
below = 0.75
recover = 0.90

[retrain]
history = "30d"                 # would a model that knows the last month alone do better?
cool_down = "14d"
max_events = 50_000
"""

NEXT_STEPS = (
    ("riverd replay -c {folder}/riverd.toml --from 2013-06-01 --to 2013-09-01", "the summer alone, with a new model"),
    ("riverd run -c {folder}/riverd.toml", "go on from the last checkpoint and wait for more flights"),
    ("$EDITOR {folder}/riverd.toml", "change a feature or a rule, give the model a new name, run again"),
)


def demo(folder: Path, *, as_json: bool) -> int:
    """Write the topics and the config below ``folder``, and replay the year.

    The data are kept for the next time; the database is made anew, so that the demo always shows the whole
    year.
    """
    console = Console(stderr=as_json)
    folder.mkdir(parents=True, exist_ok=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Writing a year of flights as two topics", total=1.0)
        write_topics(folder / "data", progress=lambda share: progress.update(task, completed=share))
    for name in ("riverd.db", "riverd.db-wal", "riverd.db-shm"):
        (folder / name).unlink(missing_ok=True)
    config_path = folder / "riverd.toml"
    if not config_path.exists():
        config_path.write_text(CONFIG, encoding="utf-8")
    config = load_config(config_path)
    if as_json:
        ended = service.run(config, config_path, until_idle=True)
        print(json.dumps(ended.result))
        return 0
    with LiveScreen(console) as screen:
        ended = service.run(config, config_path, until_idle=True, show=screen.update)
    steps = [(command.format(folder=folder), why) for command, why in NEXT_STEPS]
    console.print(summary(ended.status, width=console.width, next_steps=steps))
    return 0
