"""What Prometheus is told of windows, features and slices: every figure of the status, and nothing for none."""

from dataclasses import fields, replace

import pytest

from riverd.status import DeliveryStatus, FeatureStatus, SliceStatus, TrafficStatus, WindowStatus
from tests.riverd.web import DOCUMENT, NOW_US, STATUS, Web

KEY = {"window": "1d", "labels": "final"}
FEATURE = FeatureStatus(null_rate=0.1, mean=7.0, spread=2.0, sum=70.0, unseen_rate=0.2, psi=0.5, psi_excess=4.0)
TRAFFIC = TrafficStatus(
    dead_share=0.01, decision_rate=0.3, score_psi=0.2, score_psi_expected=0.05,
    expected_logloss=0.41, expected_roc_auc=0.82,
    label_delay_p50=60.0, label_delay_p90=90.0, label_delay_p99=99.0, features={"amount": FEATURE},
)  # fmt: skip
SLICE = SliceStatus(
    "shop", "a", 5, 4, 0.5, 0.6, 0.7, 0.1, 1.5, 2.5, logloss_error=0.04, observed_expected_error=0.3, coverage=0.8,
    normalized_entropy=0.95, ece_debiased=0.07,
)  # fmt: skip
WINDOW = WindowStatus(
    "1d", True, NOW_US, 50, 40, 0.5, 0.9, 0.75, 0.25, expired=10, roc_auc_error=0.02, average_precision=0.4,
    ece=0.03, ece_expected=0.02, ece_debiased=0.01, spiegelhalter_z=-1.5, observed_expected=1.1,
    logloss_error=0.015, observed_expected_error=0.12,
    precision=0.61, recall=0.62, alert_rate=0.63, traffic=TRAFFIC, slices=[SLICE],
)  # fmt: skip


@pytest.fixture(scope="module")
def found():
    status = replace(STATUS, windows=[WINDOW], deliveries=[DeliveryStatus("webhook", given_up=3)])
    return Web(document=replace(DOCUMENT, status=status)).samples()


def value(found, name, **labels):
    return found[f"riverd_{name}", tuple(sorted((KEY | labels).items()))]


def test_every_figure_of_a_window_is_there(found):
    values = {series: told for series, told in found.items() if series[0].startswith("riverd_window_")}
    for owner in (WINDOW, TRAFFIC):
        for field in fields(owner):
            figure = getattr(owner, field.name)
            if isinstance(figure, float):
                assert figure in values.values(), field.name
    assert value(found, "window_ece_ratio") == 0.03
    assert value(found, "window_ece_expected_ratio") == 0.02
    assert value(found, "window_spiegelhalter_z") == -1.5
    assert value(found, "window_observed_expected_ratio") == 1.1
    assert value(found, "window_logloss_error_nats") == 0.015
    assert value(found, "window_observed_expected_error_ratio") == 0.12
    assert value(found, "window_expected_logloss_nats") == 0.41
    assert value(found, "window_expected_roc_auc_ratio") == 0.82
    assert value(found, "window_score_psi") == 0.2
    assert value(found, "window_label_delay_seconds", percentile="90") == 90.0


def test_a_feature_has_series_of_its_own_and_none_for_what_is_undefined(found):
    assert value(found, "feature_null_ratio", feature="amount") == 0.1
    assert value(found, "feature_psi_excess_ratio", feature="amount") == 4.0
    assert value(found, "feature_summed", feature="amount") == 70.0
    assert not any(name == "riverd_feature_impact" for name, _ in found)


def test_a_slice_is_told_apart_by_field_and_value(found):
    of = (("field", "shop"), ("value", "a"), ("window", "1d"))
    assert found["riverd_slice_events", of] == 5
    assert found["riverd_slice_observed_expected_ratio", of] == 1.5
    assert found["riverd_slice_observed_expected_error_ratio", of] == 0.3
    assert found["riverd_slice_roc_auc_error_ratio", of] == 0.1
    assert found["riverd_slice_logloss_error_nats", of] == 0.04
    assert found["riverd_slice_coverage_ratio", of] == 0.8
    assert found["riverd_slice_normalized_entropy_ratio", of] == 0.95
    assert found["riverd_slice_ece_debiased_ratio", of] == 0.07


def test_what_was_given_up_is_counted(found):
    assert found["riverd_deliveries_given_up_total", (("channel", "webhook"),)] == 3
