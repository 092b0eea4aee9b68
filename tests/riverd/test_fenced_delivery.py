"""Alerts are told by the holder of the lease alone, whatever an earlier holder still believes."""

from contextlib import closing

import pytest
from sqlalchemy import select, update

from riverd.delivery.alertmanager import notice_of
from riverd.delivery.outbox import Delivery
from riverd.delivery.receivers import Receiver
from storage.checkpoint import Checkpoint
from storage.database import connect
from storage.store import Store
from storage.tables import leases, outbox
from stream.records import AlertChange


@pytest.fixture
def stores(postgres):
    """Return a function that opens a store, the lease of whoever had it before having lapsed."""
    opened = []
    with postgres.database(template=postgres.with_tables) as url:

        def open_one():
            with closing(connect(url)) as database, database.writing() as connection:
                connection.execute(update(leases).values(expires_at=0))
            opened.append(Store.open(url, "shops"))
            opened[-1].acquire()
            opened[-1].load()
            return opened[-1]

        yield open_one
        for store in opened:
            store.close()


def alerts(*rules):
    changes = [AlertChange(rule, "firing", 1, 1, "logloss", "1d", 0.7, 0.6, "page") for rule in rules]
    return Checkpoint(b"", notices=[notice_of(change, "log") for change in changes])


def telling(store, send):
    receiver = Receiver("here", lambda told: send(told[0].notice.rule))
    return Delivery(store, {"log": receiver}, now_us=lambda: 10**18)


def delivered(store):
    with store.database.reading() as connection:
        return connection.scalars(select(outbox.c.rule).where(outbox.c.delivered_at.is_not(None))).all()


def test_an_earlier_holder_tells_nothing(stores):
    old = stores()
    old.commit(alerts("a", "b"))
    new, told = stores(), []
    assert telling(old, pytest.fail).round() == 60.0
    assert delivered(new) == []
    telling(new, told.append).round()
    assert told == delivered(new) == ["a", "b"]


def test_taken_over_while_it_tells(stores):
    """What is on its way can't be called back; it is told again under the same id, and nothing else is."""
    old = stores()
    old.commit(alerts("a", "b"))
    told, others = [], []

    def send(rule):
        told.append(rule)
        others.append(stores())

    telling(old, send).round()
    assert told == ["a"]
    assert delivered(others[0]) == []
    told.clear()
    telling(others[0], told.append).round()
    assert told == ["a", "b"]


def test_a_holder_that_stood_still_tells_nothing_more(stores, monkeypatch):
    """It looks at its own clock before each one: another may have taken over since it asked what is due."""
    store = stores()
    store.commit(alerts("a", "b"))
    delivery = telling(store, pytest.fail)
    due = delivery._due

    def frozen_after(name):
        found = due(name)
        monkeypatch.setattr(store._lease, "_good_until_s", 0.0)
        return found

    monkeypatch.setattr(delivery, "_due", frozen_after)
    delivery.round()
    assert delivered(stores()) == []


def test_the_holder_of_a_lease_on_a_file_needs_no_server(tmp_path):
    told = []
    with closing(Store.open(f"sqlite:///{tmp_path}/riverd.db", "shops")) as store:
        store.acquire()
        store.load()
        store.commit(alerts("a"))
        telling(store, told.append).round()
        assert told == delivered(store) == ["a"]
