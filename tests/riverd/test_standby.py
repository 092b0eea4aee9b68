"""A standby says that it waits, and not every second."""

import pytest

from riverd.standby import standing_by


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def sleep(self, seconds):
        self.now_s += seconds


def test_it_says_so_once_and_then_once_a_minute(caplog):
    caplog.set_level("INFO", "riverd")
    clock = Clock()
    wait = standing_by(lambda: False, monotonic_s=lambda: clock.now_s, sleep=clock.sleep)
    said = []
    for second in range(150):
        wait(1.0)
        said += [second] * len(caplog.records)
        caplog.clear()
    assert said == [0, 60, 120]


def test_it_gives_up_when_it_is_to_stop():
    asked = [False, True]
    wait = standing_by(lambda: asked.pop(0), sleep=lambda _: None)
    wait(1.0)
    with pytest.raises(KeyboardInterrupt):
        wait(1.0)
