"""Writes riverd.json, the dashboard for Grafana: python -m deploy.grafana.dashboard"""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana.panels import SOURCE, Json, Section, figure, graph, placed, states, table

FILE = Path(__file__).with_name("riverd.json")

ONE = 'model="$model", instance=~"$instance"'
WINDOWS = f'{ONE}, window=~"$window"'
FINAL = f'{WINDOWS}, labels="final"'
GREEN, YELLOW, RED = "green", "yellow", "red"
BOTH = "{{window}} {{labels}}"

NOW = Section(
    "Now",
    [
        figure(
            "Engine", "Up while it is heard of.",
            'min(riverd_up{instance=~"$instance"})', steps=[(None, RED), (1, GREEN)], names={0: "down", 1: "up"},
        ),
        figure(
            "Learning", "Paused by a command, a rule or dead letters. `riverd top` says by whom.",
            f"min(riverd_learning{{{ONE}}})", steps=[(None, YELLOW), (1, GREEN)], names={0: "paused", 1: "on"},
        ),
        figure(
            "Alerts firing", "riverd's own rules; which ones is told below.",
            f"sum(riverd_alert_firing{{{ONE}}})", steps=[(None, GREEN), (1, RED)],
        ),
        figure(
            "Events", "Read per second, lately.",
            f'sum(rate(riverd_messages_total{{{ONE}, kind="event"}}[$__rate_interval]))',
            unit="suffix:/s", steps=[(None, "blue")],
        ),
        figure(
            "Behind", "How far event time lies behind the clock.",
            f"max(riverd_watermark_lag_seconds{{{ONE}}})", unit="s", steps=[(None, GREEN), (3600, YELLOW)],
        ),
        figure(
            "Last checkpoint", "A restart goes on from there.",
            f"max(riverd_checkpoint_age_seconds{{{ONE}}})", unit="s", steps=[(None, GREEN), (900, RED)],
        ),
    ],
)  # fmt: skip

STREAM = Section(
    "Stream",
    [
        graph(
            "Messages per second", "Events and labels as they are read, tombstones, and what could not be decoded.",
            {"{{kind}}": f"sum by (kind) (rate(riverd_messages_total{{{ONE}}}[$__rate_interval]))"}, unit="suffix:/s",
        ),
        graph(
            "Event time behind the clock",
            "It grows while a producer is silent, a partition is stuck, or more comes in than is read.",
            {"{{instance}}": f"riverd_watermark_lag_seconds{{{ONE}}}"}, unit="s",
        ),
        graph(
            "Pending and waiting", "Events whose label may still come, and labels whose event has not come yet.",
            {"events": f"sum(riverd_pending_events{{{ONE}}})", "labels": f"sum(riverd_waiting_labels{{{ONE}}})"},
        ),
        graph(
            "Fates of events", "Expired: its label came not in time, and it was learned as a negative.",
            {"{{fate}}": f"sum by (fate) (rate(riverd_events_total{{{ONE}}}[$__rate_interval]))"}, unit="suffix:/s",
        ),
        graph(
            "Fates of labels", "Late ones and orphans are lost; many of them ask for a longer window.",
            {"{{fate}}": f"sum by (fate) (rate(riverd_labels_total{{{ONE}}}[$__rate_interval]))"}, unit="suffix:/s",
        ),
        graph(
            "Dead letters", "Share of the messages that could not be decoded.",
            {BOTH: f"riverd_window_dead_ratio{{{WINDOWS}}}"}, unit="percentunit",
        ),
    ],
)  # fmt: skip

QUALITY = Section(
    "Quality of the served predictions",
    [
        graph(
            "Logloss", "Of the scores as they were served. Dashed: the newest events, with the labels so far.",
            {BOTH: f"riverd_window_logloss_nats{{{WINDOWS}}}"},
        ),
        graph(
            "Normalised entropy", "Logloss by that of the base rate: 1 is no better than always saying the mean.",
            {BOTH: f"riverd_window_normalized_entropy_ratio{{{WINDOWS}}}"},
        ),
        graph(
            "ROC AUC", "How well positives are ranked before negatives; 0.5 is chance.",
            {BOTH: f"riverd_window_roc_auc_ratio{{{WINDOWS}}}"},
        ),
        graph(
            "Positives", "Share of the labelled events.",
            {BOTH: f"riverd_window_positive_ratio{{{WINDOWS}}}"}, unit="percentunit",
        ),
        graph(
            "Average precision", "Area under precision by recall: for rare positives.",
            {BOTH: f"riverd_window_average_precision_ratio{{{WINDOWS}}}"},
        ),
        graph(
            "At the threshold", "Precision and recall of deciding by [monitors] threshold, of final windows.",
            {
                "{{window}} precision": f"riverd_window_precision_ratio{{{FINAL}}}",
                "{{window}} recall": f"riverd_window_recall_ratio{{{FINAL}}}",
            },
            unit="percentunit",
        ),
    ],
)  # fmt: skip

CALIBRATION = Section(
    "Calibration",
    [
        graph(
            "Observed by expected", "Positives by the sum of the probabilities: 1 is right on the whole.",
            {BOTH: f"riverd_window_observed_expected_ratio{{{WINDOWS}}}"},
        ),
        graph(
            "Spiegelhalter's Z", "Beyond 3 or -3 the probabilities are hardly right and unlucky.",
            {BOTH: f"riverd_window_spiegelhalter_z{{{WINDOWS}}}"},
        ),
        graph(
            "Calibration error", "ECE is never 0: compare it with what chance alone makes of a perfect model.",
            {
                "{{window}} ECE": f"riverd_window_ece_ratio{{{FINAL}}}",
                "{{window}} expected": f"riverd_window_ece_expected_ratio{{{FINAL}}}",
            },
        ),
    ],
)  # fmt: skip

TRAFFIC = Section(
    "Labels and scores",
    [
        graph(
            "Coverage", "Share of the events whose label has come.",
            {BOTH: f"riverd_window_coverage_ratio{{{WINDOWS}}}"}, unit="percentunit",
        ),
        graph(
            "Label delay", "From an event to its label, of final windows.",
            {"{{window}} p{{percentile}}": f"riverd_window_label_delay_seconds{{{FINAL}}}"}, unit="s",
        ),
        graph(
            "Stability of scores", "PSI against the reference; dashed, what chance alone makes.",
            {
                "{{window}}": f"riverd_window_score_psi{{{FINAL}}}",
                "{{window}} expected": f"riverd_window_score_psi_expected{{{FINAL}}}",
            },
        ),
    ],
)  # fmt: skip

FEATURES = Section(
    "Features",
    [
        graph(
            "Missing", "Share of the events without the feature: a producer changed.",
            {"{{feature}} {{window}}": f"riverd_feature_null_ratio{{{FINAL}}}"}, unit="percentunit",
        ),
        graph(
            "New values", "Share of the events with a value that no event had before.",
            {"{{feature}} {{window}}": f"riverd_feature_unseen_ratio{{{FINAL}}}"}, unit="percentunit",
        ),
        graph(
            "Drift", "PSI against the reference by what chance exceeds once in a thousand: beyond 1 it has moved.",
            {"{{feature}} {{window}}": f"riverd_feature_psi_excess_ratio{{{FINAL}}}"},
        ),
        graph(
            "Impact of drift", "PSI by the weight in the model, in log odds: look at the highest first.",
            {"{{feature}} {{window}}": f"riverd_feature_impact{{{FINAL}}}"},
        ),
        graph(
            "Means", "Of numbers.",
            {"{{feature}} {{window}}": f"riverd_feature_mean{{{FINAL}}}"},
        ),
    ],
)  # fmt: skip

SLICES = Section(
    "Slices",
    [
        table(
            "By value", "Final windows, of the fields under [monitors] slices.",
            {
                "events": f"riverd_slice_events{{{WINDOWS}}}",
                "logloss": f"riverd_slice_logloss_nats{{{WINDOWS}}}",
                "ROC AUC": f"riverd_slice_roc_auc_ratio{{{WINDOWS}}}",
                "observed by expected": f"riverd_slice_observed_expected_ratio{{{WINDOWS}}}",
            },
            columns=["window", "field", "value"],
        ),
        graph(
            "Worst ten", "Those with the highest logloss at each moment.",
            {"{{field}}={{value}} {{window}}": f"topk(10, riverd_slice_logloss_nats{{{WINDOWS}}})"},
            width=12, height=8,
        ),
    ],
)  # fmt: skip

ALERTS = Section(
    "Alerts",
    [
        states(
            "Rules", "riverd's own rules, judged in event time. Pending: breached, but not for long enough.",
            {"{{rule}}": f"2 * riverd_alert_firing{{{ONE}}} + riverd_alert_pending{{{ONE}}}"},
            names={0: ("quiet", GREEN), 1: ("pending", YELLOW), 2: ("firing", RED)},
        ),
        table(
            "Values and bounds", "What each rule looks at, and where it fires.",
            {
                "value": f"riverd_alert_value{{{ONE}}}",
                "bound": f"riverd_alert_bound{{{ONE}}}",
                "firing": f"riverd_alert_firing{{{ONE}}}",
            },
            columns=["rule", "severity"],
        ),
        graph(
            "Deliveries", "Changes of alerts that receivers were told of, and attempts that failed, in five minutes.",
            {
                "{{channel}}": f"increase(riverd_deliveries_total{{{ONE}}}[5m])",
                "{{channel}} failed": f"increase(riverd_delivery_failures_total{{{ONE}}}[5m])",
            },
            width=12,
        ),
        graph(
            "Not delivered yet", "How long the oldest change has waited for its receiver.",
            {"{{channel}}": f"riverd_outbox_oldest_seconds{{{ONE}}}"}, unit="s", width=12,
        ),
    ],
)  # fmt: skip

RETRAINING = Section(
    "Retraining",
    [
        graph(
            "Evidence for the challenger", "Log of what bets on it are worth. Dashed: where it is promoted.",
            {
                "evidence": f"riverd_challenger_evidence{{{ONE}}}",
                "bound": f"riverd_challenger_evidence_bound{{{ONE}}}",
            },
        ),
        graph(
            "Gain of the challenger", "Nats an event by which it is better than what serves; below 0 it is worse.",
            {
                "gain": f"riverd_challenger_gain_nats{{{ONE}}}",
                "standard error": f"riverd_challenger_gain_error_nats{{{ONE}}}",
            },
        ),
        graph(
            "Decisions", "About retraining, in an hour; `riverd retrain list` has the reasons.",
            {"{{decision}}": f"increase(riverd_retrain_decisions_total{{{ONE}}}[1h])"},
        ),
    ],
)  # fmt: skip

CHECKPOINTS = Section(
    "Checkpoints",
    [
        graph(
            "Duration", "Time to write one, and how long the engine stood still for it.",
            {
                "written in": f"riverd_checkpoint_duration_seconds{{{ONE}}}",
                "stood still": f"riverd_checkpoint_pause_seconds{{{ONE}}}",
            },
            unit="s",
        ),
        graph("Size", "What the last one wrote.", {"bytes": f"riverd_checkpoint_size_bytes{{{ONE}}}"}, unit="bytes"),
        graph(
            "Age", "Time since the last one; a restart learns what came since then again.",
            {"age": f"riverd_checkpoint_age_seconds{{{ONE}}}"}, unit="s",
        ),
    ],
)  # fmt: skip

SECTIONS = [NOW, STREAM, QUALITY, CALIBRATION, TRAFFIC, FEATURES, SLICES, ALERTS, RETRAINING, CHECKPOINTS]


def dashboard() -> Json:
    """The document that Grafana imports."""
    fired: Json = {
        "name": "Alerts", "enable": True, "iconColor": RED, "datasource": SOURCE,
        "expr": f"riverd_alert_firing{{{ONE}}} == 1", "step": "60s", "titleFormat": "{{rule}}",
    }  # fmt: skip
    replaced: Json = {
        "name": "Model replaced", "enable": True, "iconColor": "blue", "datasource": SOURCE,
        "expr": f'increase(riverd_retrain_decisions_total{{{ONE}, decision=~"promoted|rolled back"}}[1m]) > 0',
        "step": "60s", "titleFormat": "{{decision}}",
    }  # fmt: skip
    return {
        "uid": "riverd",
        "title": "riverd",
        "description": "A model that learns from a stream: what it reads, how good it is, what is wrong.",
        "tags": ["riverd"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [fired, replaced]},
        "templating": {"list": _variables()},
        "panels": placed(SECTIONS),
    }


def _variables() -> list[Json]:
    source: Json = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return [
        source,
        _variable("model", "riverd_learning", several=False),
        _variable("instance", 'riverd_learning{model="$model"}', several=True),
        _variable("window", 'riverd_window_events{model="$model"}', several=True),
    ]


def _variable(name: str, series: str, *, several: bool) -> Json:
    query = f"label_values({series}, {name})"
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": several,
        "includeAll": several,
        **({"current": {"text": ["All"], "value": ["$__all"]}} if several else {}),
    }


def text() -> str:
    """What stands in the file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
