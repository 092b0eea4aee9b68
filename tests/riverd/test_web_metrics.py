"""What Prometheus is told."""

import time
from dataclasses import replace

from riverd.status import RetrainStatus
from tests.riverd.web import DOCUMENT, HOUR_US, NOW_US, STATUS, Web


def test_the_metrics_say_what_the_status_says():
    web = Web(document=replace(DOCUMENT, started_at=time.time_ns() // 1000 - 100_000_000))
    found = web.samples()
    assert found["riverd_build_info", (("version", "1.2.3"),)] == 1
    final = (("labels", "final"), ("window", "1d"))
    provisional = (("labels", "provisional"), ("window", "1d"))
    assert found["riverd_window_logloss_nats", final] == 0.5
    assert ("riverd_window_logloss_nats", provisional) not in found  # undefined is absent, not 0
    assert found["riverd_window_logloss_sum_nats", final] == 20.0
    assert (found["riverd_window_ordered_pairs", final], found["riverd_window_pairs", final]) == (225.0, 300.0)
    assert found["riverd_alert_firing", (("rule", "loss"), ("severity", "critical"))] == 1
    assert found["riverd_alert_firing", (("rule", "area"), ("severity", "warning"))] == 0
    assert found["riverd_outbox_waiting", (("channel", "webhook"),)] == 2
    assert found["riverd_deliveries_total", (("channel", "webhook"),)] == 7
    assert found["riverd_learning", ()] == 1
    assert found["riverd_labels_stalled", ()] == 0
    assert found["riverd_checkpoint_duration_seconds", ()] == 0.02
    assert found["riverd_watermark_timestamp_seconds", ()] == (NOW_US - HOUR_US) / 1e6


def test_a_challenger_is_told_of_while_there_is_one():
    decided = {"started": 2, "promoted": 0}
    training = RetrainStatus(2, "training", "an alert", 500, 0.5)
    found = Web(document=replace(DOCUMENT, status=replace(STATUS, decided=decided, retrain=training))).samples()
    assert found["riverd_retrain_decisions_total", (("decision", "started"),)] == 2
    assert found["riverd_retrain_decisions_total", (("decision", "promoted"),)] == 0  # so that an increase is seen
    assert found["riverd_retrain_going", (("state", "training"),)] == 1
    assert found["riverd_retrain_going", (("state", "in shadow"),)] == 0
    assert found["riverd_retrain_events", ()] == 500
    assert ("riverd_challenger_evidence", ()) not in found

    shadow = RetrainStatus(2, "in shadow", "an alert", 70, gain=0.02, gain_error=0.01, evidence=1.5, bound=3.0)
    found = Web(document=replace(DOCUMENT, status=replace(STATUS, decided=decided, retrain=shadow))).samples()
    assert found["riverd_retrain_going", (("state", "in shadow"),)] == 1
    assert (found["riverd_challenger_gain_nats", ()], found["riverd_challenger_gain_error_nats", ()]) == (0.02, 0.01)
    assert (found["riverd_challenger_evidence", ()], found["riverd_challenger_evidence_bound", ()]) == (1.5, 3.0)

    found = Web(document=replace(DOCUMENT, status=replace(STATUS, decided=decided))).samples()
    assert [name for name, _ in found if "challenger" in name or name == "riverd_retrain_events"] == []


def test_every_fate_is_among_the_metrics():
    found = Web().samples()
    kinds = ("messages_total", "events_total", "labels_total", "other_total", "pending_events", "waiting_labels")
    values = sorted(value for (name, _), value in found.items() if name.removeprefix("riverd_") in kinds)
    assert values == sorted(STATUS.counts.values())


def test_before_the_first_checkpoint_its_age_counts_from_the_start():
    started_at = time.time_ns() // 1000 - 100_000_000
    document = replace(DOCUMENT, started_at=started_at, status=replace(STATUS, checkpoint=None))
    assert 100 <= Web(document=document).samples()["riverd_checkpoint_age_seconds", ()] < 110
