"""What a running riverd says of itself: one document, drawn by the terminal and printed by ``--json``."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FeatureStatus:
    """One field over a window; None is undefined, or meaningless for its kind."""

    null_rate: float | None = None
    mean: float | None = None
    spread: float | None = None
    sum: float | None = None
    unseen_rate: float | None = None  # of values that no event had before
    clipped_rate: float | None = None  # of numbers: beyond what the model clips at
    psi: float | None = None  # against the reference
    psi_expected: float | None = None  # by chance alone
    psi_noise: float | None = None  # what chance alone exceeds once in a thousand
    psi_excess: float | None = None  # psi by psi_noise
    weight: float | None = None  # mean absolute weight in the model now, in log odds
    impact: float | None = None  # psi by weight: how much of the model's say has moved, to rank by


@dataclass(frozen=True, slots=True)
class TrafficStatus:
    """What flowed by in a window, labelled or not; None is undefined."""

    dead_share: float | None = None  # of messages
    decision_rate: float | None = None  # events scored at least the threshold
    score_psi: float | None = None  # against the reference
    score_psi_expected: float | None = None  # by chance alone
    expected_logloss: float | None = None  # nats; this and the next if the probabilities are true: no label is in them
    expected_roc_auc: float | None = None
    label_delay_p50: float | None = None  # seconds
    label_delay_p90: float | None = None
    label_delay_p99: float | None = None
    reference_events: int | None = None  # None: the reference is not whole yet; 0: its time had gone by
    features: dict[str, FeatureStatus] = field(default_factory=dict)  # by impact, the greatest first


@dataclass(frozen=True, slots=True)
class SliceStatus:
    """How good predictions were for one value of a field; None is undefined."""

    field: str
    value: str
    events: int
    labelled: int
    positive_rate: float | None
    logloss: float | None
    roc_auc: float | None
    roc_auc_error: float | None
    observed_expected: float | None
    spiegelhalter_z: float | None
    logloss_error: float | None = None  # standard error
    observed_expected_error: float | None = None
    coverage: float | None = None
    normalized_entropy: float | None = None
    average_precision: float | None = None
    ece: float | None = None
    ece_expected: float | None = None  # of a perfectly calibrated model
    ece_debiased: float | None = None
    precision: float | None = None  # this and the next two at the threshold
    recall: float | None = None
    alert_rate: float | None = None


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Labelled events of about one score: a point of the reliability diagram."""

    events: int
    predicted: float  # mean of the probabilities served
    observed: float  # share of positives
    low: float  # this and the next: Wilson's 95 % interval of that share
    high: float


@dataclass(frozen=True, slots=True)
class WindowStatus:
    """How good the served predictions were over one window of event time; None is undefined."""

    window: str  # as configured: "1d"
    final: bool  # every label of its panes has come or is too late
    until: int  # microseconds: end of the window
    events: int
    labelled: int
    logloss: float | None
    normalized_entropy: float | None
    roc_auc: float | None
    positive_rate: float | None
    expired: int = 0
    logloss_error: float | None = None  # standard error
    roc_auc_error: float | None = None
    average_precision: float | None = None
    ece: float | None = None
    ece_expected: float | None = None  # of a perfectly calibrated model
    ece_debiased: float | None = None  # what is left without the part of chance
    spiegelhalter_z: float | None = None
    observed_expected: float | None = None
    observed_expected_error: float | None = None
    precision: float | None = None  # this and the next two at the threshold
    recall: float | None = None
    alert_rate: float | None = None
    traffic: TrafficStatus | None = None
    slices: list[SliceStatus] = field(default_factory=list)  # this and the next of final windows
    reliability: list[GroupStatus] = field(default_factory=list)  # from the lowest scores to the highest

    @property
    def coverage(self) -> float | None:
        return self.labelled / self.events if self.events else None


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """One rule and where it stands."""

    rule: str
    state: str  # "quiet" | "pending" | "firing"
    since: int | None  # microseconds of event time
    metric: str
    window: str
    value: float | None
    bound: float
    above: bool  # breached above the bound, or below it
    severity: str = "warning"
    by_se: float | None = None  # standard errors beyond the bound that make a breach


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """An alert that fired or was resolved, for the log on the screen."""

    rule: str
    state: str  # "firing" | "resolved"
    at: int
    started_at: int
    metric: str
    window: str
    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class CheckpointStatus:
    number: int
    events: int  # events whose effect it holds
    bytes: int
    milliseconds: float  # to write; the engine waited for pause_milliseconds of them
    pause_milliseconds: float
    at: int = 0  # wall clock in microseconds


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """How it stands with one channel that alerts go to."""

    channel: str
    waiting: int = 0
    oldest_at: int | None = None  # wall clock in microseconds at which the oldest of them was written
    delivered: int = 0  # by this process
    failures: int = 0
    last_error: str | None = None  # None: the last attempt went well
    given_up: int = 0  # refused so often that they are not tried again


@dataclass(frozen=True, slots=True)
class JudgedStatus:
    """Sums over every prediction ever judged: what can be added up over processes, and divided into rates."""

    labelled: int
    positives: int
    logloss_nats: float
    probability: float


@dataclass(frozen=True, slots=True)
class SkewStatus:
    """What became of scores that clients served by themselves."""

    results: dict[str, int]  # ever: agreed, row_differs, score_differs, unknown_version, unreadable
    recent: int  # of the last 1,000 that could be compared, those that differ
    first: str  # place and figures of the first of them; empty: there was none
    versions: list[int]  # the states that are kept, the oldest first


@dataclass(frozen=True, slots=True)
class DecisionStatus:
    """A decision about a retrain or about the model that serves."""

    at: int | None  # event time
    retrain: int | None
    decision: str
    reason: str


@dataclass(frozen=True, slots=True)
class RetrainStatus:
    """The retrain that goes on."""

    number: int
    state: str  # "training" | "in shadow"
    reason: str
    events: int  # trained on so far, or judged in shadow
    share: float | None = None  # of history that is read
    gain: float | None = None  # in shadow: nats by which it is better, an event
    gain_error: float | None = None  # standard error
    evidence: float | None = None  # log of what bets on it are worth; at the bound it is promoted
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the engine between two steps."""

    model: str
    phase: str  # "compiling" | "reading" | "waiting" | "stopping" | "done"
    watermark: int | None
    seconds: float  # since the first poll
    events_per_second: float  # lately
    counts: dict[str, int]  # design: messages, events, labels, ..., orphan
    windows: list[WindowStatus] = field(default_factory=list)
    alerts: list[AlertStatus] = field(default_factory=list)
    events: list[AlertEvent] = field(default_factory=list)  # the latest, oldest first
    checkpoint: CheckpointStatus | None = None
    history: list[tuple[int, float, float]] = field(
        default_factory=list
    )  # (time, logloss, roc_auc) of the first window
    overall: WindowStatus | None = None  # every final pane since the beginning, for the summary
    progress: float | None = None  # share of the input that has been read, where its end is known
    paused_by: str | None = None  # who paused learning: labels are judged then, and not learned from
    stalled_since: int | None = None  # event time since when labels stall, and predictions wait instead of expiring
    store_error: str | None = None  # why the last checkpoint could not be written
    judged: JudgedStatus | None = None
    deliveries: list[DeliveryStatus] = field(default_factory=list)
    leaks: dict[str, float] = field(default_factory=dict)  # features that rank the labels alone, with their ROC AUC
    skew: SkewStatus | None = None  # without [skew]
    retrain: RetrainStatus | None = None  # the one that goes on
    decisions: list[DecisionStatus] = field(default_factory=list)  # about retraining, of this run, oldest first
    decided: dict[str, int] = field(default_factory=dict)  # how many of each there were in this run
