"""Events that depend on each other are worth less to the gate than as many that do not."""

import numpy as np

from tests.monitors.test_gate import judged, rows_of


def test_what_happened_to_a_few_users_is_no_evidence_of_many():
    """Sixty events in a row are of one user, all with one outcome; shuffled, the same outcomes are evidence."""
    rng = np.random.default_rng(28)
    promoted = {60: 0, 1: 0}
    for _ in range(60):
        users = rng.random(60) < 0.5
        for each, labels in ((60, np.repeat(users, 60)), (1, rng.permutation(np.repeat(users, 60)))):
            gate = judged(rows_of(np.zeros(3_600), labels), np.full(3_600, 0.4), max_events=3_600)
            promoted[each] += gate.verdict == "promote"
    assert promoted[60] <= 3 < promoted[1]
