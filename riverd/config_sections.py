"""The tables of riverd.toml: every key, its meaning and its default."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from monitors.e_detector import FALSE_ALARM_EVERY, TOLERANCE
from monitors.quality import THRESHOLD
from monitors.reference import Reference
from riverd.addresses import Listen, check_server, check_url, parse_listen
from riverd.durations import UNITS_US, format_duration, parse_duration
from riverd.reference import parse_reference

Duration = Annotated[
    int, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="always", return_type=str)
]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Url = Annotated[str, AfterValidator(check_url)]

TICKS_PER_WINDOW = 24
SHORTEST_TICK_US = UNITS_US["m"]
TIME_PARTS = ("hour", "weekday")


def as_tuple(values: Any) -> tuple[Any, ...]:
    """One value, several, or none, as a tuple."""
    return () if values is None else tuple(values) if isinstance(values, list) else (values,)


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


Ids = Name | Annotated[list[Name], Field(min_length=1, max_length=8)]  # one field, or several together
Scalar = str | int | float | bool
Values = Scalar | Annotated[list[Scalar], Field(min_length=1, max_length=100)]


class Model(Section):
    """The learner."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    """Keys all that is stored: another name learns the stream anew."""
    kind: Literal["mixture", "ftrl", "external"] = "mixture"
    """"mixture" needs no settings; "ftrl" is FTRL-Proximal; "external" judges the scores that events bring."""
    bits: Annotated[int, Field(ge=8, le=28)] = 18
    """There are 2^bits slots; `riverd check` says how many features share one."""
    alpha: Annotated[float, Field(gt=0, le=100)] | None = None
    """"ftrl": learning rate of a weight before its gradients have shrunk it; left out: 0.3."""
    beta: Annotated[float, Field(ge=0, le=1e6)] | None = None
    """"ftrl": steps that keep the first learning rate; left out: 1."""
    l1: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """"ftrl": weights whose evidence stays below it are exactly zero; the bias is left alone."""
    l2: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Pull of every weight towards zero; the bias is left alone."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [name for name in ("alpha", "beta", "l1") if getattr(self, name)]
        if self.kind != "ftrl" and given:
            raise ValueError(f'{given[0]} is read with kind = "ftrl" alone.\n  Add it, or remove {given[0]}.')
        return self


class Source(Section):
    """Where messages come from."""

    kind: Literal["files", "kafka"] = "files"
    """Topics are folders of JSON lines, or topics of Kafka; see kafka.md."""
    path: str = "data"
    """A topic is the folder `path/<topic>/` with `*.jsonl`, `.jsonl.gz` and `.jsonl.zst`; relative to this file."""
    bootstrap_servers: list[Annotated[str, AfterValidator(check_server)]] = []
    """Kafka: some of the brokers, `["host:9092"]`; they name the others."""
    client: Literal["kafka-python", "confluent"] = "kafka-python"
    """Kafka: both are as fast; "confluent" is compiled, and is installed with `riverd[fast]`."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Kafka: what the listener speaks."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """Kafka: how it wants the password, which comes from the environment: RIVERD_KAFKA_PASSWORD."""
    sasl_username: Name | None = None
    """Kafka: whose password it is."""
    ca_file: Name | None = None
    """Kafka: certificates (PEM) of who vouches for the brokers; left out: those the system trusts."""
    cert_file: Name | None = None
    """Kafka: our own certificate (PEM), where brokers ask for one."""
    key_file: Name | None = None
    """Kafka: its private key (PEM)."""
    poll_records: Annotated[int, Field(ge=1, le=1 << 20)] = 8192
    """Messages of each partition that are taken at once; the result does not depend on it."""
    max_message_bytes: Annotated[int, Field(ge=1024, le=1 << 28)] = 1 << 20
    """A longer message is a dead letter."""
    idle_after: Duration = 10 * UNITS_US["s"]
    """A partition that has been silent this long no longer holds the others back."""
    max_skew: Duration = UNITS_US["h"]
    """Nor does one that has nothing more and lies this far behind them."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "kafka" and not self.bootstrap_servers:
            raise ValueError('kind = "kafka" needs brokers.\n  Add bootstrap_servers = ["host:9092"].')
        if self.kind != "kafka" and self.bootstrap_servers:
            raise ValueError('bootstrap_servers are read with kind = "kafka" alone.\n  Add it, or remove them.')
        sasl = self.security_protocol.startswith("SASL")
        if sasl and not (self.sasl_mechanism and self.sasl_username):
            raise ValueError(
                f'security_protocol = "{self.security_protocol}" needs a user.\n'
                '  Add sasl_mechanism = "SCRAM-SHA-512" (or "PLAIN") and sasl_username = "...".'
            )
        if not sasl and (self.sasl_mechanism or self.sasl_username):
            raise ValueError(
                f'sasl_mechanism and sasl_username are not used with security_protocol = "{self.security_protocol}".\n'
                '  Set it to "SASL_SSL", or remove them.'
            )
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together.\n  Add the one that is missing.")
        return self


class Events(Section):
    """What is scored."""

    topic: Name
    """Where they come from."""
    time: Name | None = None
    """Field of the event time: RFC 3339 text (UTC without a zone), or epoch seconds or milliseconds. Kafka alone can
    do without: it is the message's timestamp then."""
    id: Ids | None = None
    """Field of the id, or a list of fields; needed where labels come on a topic of their own."""
    label: Name | None = None
    """Field of the label, where each event brings its own; there is no [labels] then."""
    positive_when: Values | None = None
    """Values of the label that are positive, where it is not true or false, 1 or 0."""
    dedupe: Duration | None = None
    """For events with labels: an id is known this long, and a second event with it is ignored."""
    weight: Name | None = None
    """Field that says how much the event counts in learning; null is 1."""
    score: Name | None = None
    """With kind = "external": field of the other model's probability."""

    @property
    def ids(self) -> tuple[str, ...]:
        return as_tuple(self.id)


class Labels(Section):
    """The outcomes, on a topic of their own."""

    topic: Name
    """Where they come from."""
    id: Ids
    """Field of the id of the event that is answered, or a list of fields."""
    time: Name | None = None
    """Field of the time at which the outcome became known; left out: as under [events]."""
    value: Name | None = None
    """Field of the outcome: true or false, 1 or 0. Left out: that a label comes means positive."""
    positive_when: Values | None = None
    """Values of it that are positive, where it is neither."""
    window: Duration = UNITS_US["d"]
    """How long after its event a label may come."""
    early_window: Duration = UNITS_US["m"]
    """How long before its event a label may come; it waits so long."""
    remember: Duration | None = None
    """An id stays known this long after the window, to tell duplicates; left out: as long as the window."""
    missing: Literal["drop", "negative"] = "drop"
    """What a prediction without a label is when its window has passed: dropped, or learned as negative."""
    learn: Literal["arrival", "maturity"] | None = None
    """Learn at once, or at the end of the window. Left out: "maturity" with "negative", else "arrival"."""

    @property
    def at_maturity(self) -> bool:
        return (self.learn or ("maturity" if self.missing == "negative" else "arrival")) == "maturity"


class Features(Section):
    """Which fields the model sees."""

    categories: list[Name] = []
    """Text, booleans, or numbers that are names; null is a value."""
    numbers: list[Name] = []
    """Standardised as they come; null is a feature of its own."""
    crosses: list[Annotated[list[Name], Field(min_length=2, max_length=2)]] = []
    """Pairs of categories whose combinations are features too."""
    time_parts: list[Literal["hour", "weekday"]] = []
    """Of the event time, in UTC, as categories: "hour", "weekday"."""
    words: list[Name] = []
    """Lists of text, of which the first 64 are used."""
    buckets: dict[Name, Annotated[list[float], Field(min_length=1, max_length=1000)]] = {}
    """Numbers cut at edges into categories: `{age = [18, 30, 65]}`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [*self.categories, *self.numbers, *self.time_parts, *self.words]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"names {twice[0]!r} twice.\n  A field is a category or a number, once.")
        for name, edges in self.buckets.items():
            if name in self.categories or name in self.words:
                raise ValueError(f"buckets {name!r}, which is no number.\n  Take it out of categories and words.")
            if any(low >= high for low, high in pairwise(edges)):
                raise ValueError(f"buckets {name!r} at edges that do not rise.\n  Sort them, each once.")
        known = {*self.categories, *self.time_parts}
        for name in (name for pair in self.crosses for name in pair):
            if name not in known:
                raise ValueError(f"crosses {name!r}, which is not among categories or time_parts.\n  Add it there.")
        return self

    @property
    def fields(self) -> list[str]:
        """All fields of the event that are read."""
        return [*dict.fromkeys([*self.categories, *self.numbers, *self.words, *self.buckets])]


class Storage(Section):
    """What survives."""

    url: str = "sqlite:///riverd.db"
    """`sqlite:///file`, relative to this file, or `postgresql+psycopg://user@host/database`; see postgresql.md."""
    checkpoint: Duration = UNITS_US["m"]
    """Wall time between two checkpoints; writing takes at most a tenth of the time."""
    snapshot: Duration = UNITS_US["h"]
    """Wall time between two snapshots of the model; the newest 48 are kept."""
    lease: Duration = 15 * UNITS_US["s"]
    """On PostgreSQL: how long after the running riverd was last heard of a waiting one takes over."""

    @field_validator("lease")
    @classmethod
    def _long_enough(cls, lease: int) -> int:
        if lease < UNITS_US["s"]:
            raise ValueError('is too short to be renewed in time.\n  Write "15s", or at least "1s".')
        return lease


KafkaTopic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class Predictions(Section):
    """What was served, for whoever wants it; with [source] kind = "kafka"."""

    topic: KafkaTopic | None = None
    """Where each prediction goes, by the same brokers, once the checkpoint that holds it is committed."""


class DeadLetters(Section):
    """How messages that can't be used are kept."""

    keep: Duration = 30 * UNITS_US["d"]
    """How long, by the wall clock; at most 100,000 of them."""
    topic: KafkaTopic | None = None
    """With Kafka: a topic that they go to as well, raw, with reason and place in the headers."""
    redact: list[Name] = []
    """Fields, by name or path, whose values are not stored."""
    pause_above: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the messages of a tick at which learning stops; 1 is never."""


class Monitors(Section):
    """How what was served is judged."""

    windows: Annotated[list[Duration], Field(min_length=1, max_length=8)] = [UNITS_US["d"], 7 * UNITS_US["d"]]
    """Of event time, each a multiple of the tick: 1/24 of the shortest, at least a minute."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = THRESHOLD
    """Probability from which on somebody acts."""
    guardrails: Annotated[list[Name], Field(max_length=32)] = []
    """Number fields whose mean and sum are watched."""
    slices: Annotated[list[Name], Field(max_length=4)] = []
    """Fields by whose values quality is judged apart: up to 32 values each, the rest is "other"."""
    reference: str | None = None
    """What features and scores are compared with: "first 7d", "first 100000" (events), "2013-02-01/2013-03-01", or a
    time, for the longest window that ended then; left out: the first full window, the longest one."""
    false_alarm_every: Annotated[int, Field(ge=1000)] = FALSE_ALARM_EVERY
    """Labelled events between false alarms of calibration-drift and concept-drift, on average and at least."""
    tolerance: Annotated[float, Field(ge=0, le=1)] = TOLERANCE
    """Distance from the true log odds that these two put up with."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            _ = self.compared_with
        except ValueError as error:
            raise ValueError(f'reference = "{self.reference}" {error}') from None
        return self

    @property
    def compared_with(self) -> Reference | None:
        """The reference, if one is named."""
        return None if self.reference is None else parse_reference(self.reference, longest_us=max(self.windows))

    @property
    def tick_us(self) -> int:
        return max(min(self.windows) // TICKS_PER_WINDOW, SHORTEST_TICK_US)


class Web(Section):
    """HTTP: /metrics, /status, /livez, /readyz. Changes, and reading from other machines, need RIVERD_TOKEN."""

    listen: str = "127.0.0.1:8765"
    """Address and port; empty for none. RIVERD_LISTEN stands above it. `--until-idle` and `replay` don't open it."""

    @field_validator("listen")
    @classmethod
    def _parsed(cls, listen: str) -> str:
        if listen:
            parse_listen(listen)
        return listen

    @property
    def address(self) -> Listen | None:
        return parse_listen(self.listen) if self.listen else None
