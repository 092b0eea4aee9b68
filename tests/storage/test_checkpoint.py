"""A checkpoint is whole or absent: kills, full disks, damage."""

import threading

import pytest
from sqlalchemy import event, func, select, text, update

from storage.blocks import Block
from storage.checkpoint import FAIL_POINTS, Checkpoint
from storage.errors import DamagedBlob, DamagedState, DiskFull, NewerSchema, NoSuchSnapshot
from storage.outbox import Notice, read_due
from storage.snapshots import NewSnapshot
from storage.store import Store
from storage.tables import blocks, checkpoints, snapshots
from stream.records import AlertChange, DeadLetter
from tests.storage.databases import only_sqlite

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # what is forked starts no threads

ALERT = AlertChange("logloss-high", "firing", 10, 10, "logloss", "1d", 0.7, 0.6, "page")
LETTER = DeadLetter("flights", "0", 81_204, "no id", b"{}")
FIRST = Checkpoint(b"one", [Block("weights", 0, b"w1"), Block("rows", 0, b"r0"), Block("rows", 1, b"r1")])
SECOND = Checkpoint(
    b"two",
    [Block("weights", 0, b"w2"), Block("rows", 0, None), Block("rows", 2, b"r2")],
    alerts=[ALERT],
    dead_letters=[LETTER],
    snapshots=[NewSnapshot(watermark=99, reason="hourly", lineage={"parent": None}, data=b"model")],
    notices=[Notice("logloss-high", 10, "firing", "webhook", b"{}")],
)
FIRST_BLOCKS = {("weights", 0): b"w1", ("rows", 0): b"r0", ("rows", 1): b"r1"}
SECOND_BLOCKS = {("weights", 0): b"w2", ("rows", 1): b"r1", ("rows", 2): b"r2"}


def everything(store):
    loaded = store.load()
    with store.database.reading() as connection:
        due = read_due(connection, store.model, "webhook", at=store._now(), limit=9)
    told = store.alerts(), store.dead_letters(limit=9), store.snapshots(), due
    return loaded.number, loaded.state, loaded.blocks, *told


def test_every_step_is_announced_once_in_order(open_store):
    seen = []
    open_store(reached=seen.append).commit(SECOND)
    assert tuple(seen) == FAIL_POINTS


@pytest.mark.parametrize("point", FAIL_POINTS)
def test_kill_9_anywhere_leaves_the_whole_or_nothing(point, open_store, url, in_child, kill_me, lapse):
    def die_there():
        store = Store.open(url, "late-flights", now=lambda: 5, reached=lambda name: name == point and kill_me())
        store.acquire()
        store.load()
        store.commit(SECOND)

    first = open_store(now=lambda: 5)
    assert first.load() is None
    first.commit(FIRST)
    before = everything(first)
    assert before == (1, b"one", FIRST_BLOCKS, [], [], [], [])
    first.close()
    assert in_child(die_there) == -9
    lapse()
    after = open_store(now=lambda: 5)
    if point == "checkpoint.committed":
        assert everything(after)[:3] == (2, b"two", SECOND_BLOCKS)
        assert [len(found) for found in everything(after)[3:]] == [1, 1, 1, 1]
    else:
        assert everything(after) == before
        assert after.commit(SECOND).number == 2
        assert everything(after)[:3] == (2, b"two", SECOND_BLOCKS)


@only_sqlite
def test_a_full_disk_loses_nothing_and_is_got_over(open_store):
    store = open_store()
    store.commit(FIRST)
    before = everything(store)
    with store.database.reading() as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
    limit = [pages + 10]
    event.listen(
        store.database.engine, "checkout", lambda c, *_: c.execute(f"PRAGMA max_page_count = {limit[0]}").fetchall()
    )
    big = Checkpoint(SECOND.state, [*SECOND.blocks, Block("rows", 3, bytes(1_000_000))], [ALERT], [LETTER])
    with pytest.raises(DiskFull, match=r"riverd.db: the disk is full .*\n  Nothing was half written"):
        store.commit(big)
    assert everything(store) == before
    limit[0] = 1_000_000
    assert store.commit(big).number == 2
    assert store.load().blocks == {**SECOND_BLOCKS, ("rows", 3): bytes(1_000_000)}


def test_an_error_in_the_middle_is_got_over(open_store):
    stop = ["checkpoint.prune"]

    def reached(name):
        if name in stop:
            raise InterruptedError

    store = open_store(reached=reached)
    with pytest.raises(InterruptedError):
        store.commit(FIRST)
    assert store.load() is None
    stop.clear()
    assert store.commit(FIRST).number == 1


def damage(store, what, number=2):
    """Harm something that only checkpoint ``number`` needs."""
    with store.database.writing() as connection:
        if what == "state":
            connection.execute(update(checkpoints).where(checkpoints.c.number == number).values(state=b"twO"))
        elif what == "block":
            changed = update(blocks).where(blocks.c.kind == "weights", blocks.c.checkpoint == number)
            connection.execute(changed.values(data=b"W"))
        elif what == "block and hash":
            changed = update(blocks).where(blocks.c.kind == "weights", blocks.c.checkpoint == number)
            connection.execute(changed.values(sha256="0" * 64))
        elif what == "lost block":
            connection.execute(blocks.delete().where(blocks.c.kind == "weights", blocks.c.checkpoint == number))
        elif what == "lost tombstone":
            connection.execute(blocks.delete().where(blocks.c.data.is_(None)))


REASONS = {
    "state": "checkpoint 2: its state does not match its sha256",
    "block": "checkpoint 2: block weights 0, written with checkpoint 2, does not match its sha256",
    "block and hash": "checkpoint 2: its blocks are not the ones that were written",
    "lost block": "checkpoint 2: its blocks are not the ones that were written",
    "lost tombstone": "checkpoint 2: its blocks are not the ones that were written",
}


@pytest.mark.parametrize("what", REASONS)
def test_damage_falls_back_and_the_rerun_gives_the_same(what, open_store):
    store = open_store(now=lambda: 5)
    store.commit(FIRST)
    store.commit(SECOND)
    undamaged = everything(store)
    damage(store, what)
    for _ in range(2):  # reading repairs nothing
        loaded = store.load()
        assert (loaded.number, loaded.state, loaded.blocks) == (1, b"one", FIRST_BLOCKS)
        assert loaded.skipped == [REASONS[what]]
    assert store.commit(SECOND).number == 2
    assert everything(store) == undamaged
    assert store.load().skipped == []


@only_sqlite
def test_a_byte_flipped_on_the_disk_is_noticed(open_store, tmp_path):
    store = open_store()
    store.commit(FIRST)
    store.commit(Checkpoint(b"two", [Block("weights", 0, b"needle in a " + bytes(100_000) + b"haystack")]))
    store.close()
    file = tmp_path / "riverd.db"
    content = bytearray(file.read_bytes())
    content[content.index(b"haystack")] ^= 1
    file.write_bytes(content)
    loaded = open_store().load()
    assert (loaded.number, loaded.blocks) == (1, FIRST_BLOCKS)


def test_with_no_intact_checkpoint_nothing_is_made_up(open_store):
    store = open_store()
    store.commit(FIRST)
    store.commit(SECOND)
    damage(store, "state", number=1)
    damage(store, "block", number=2)
    with pytest.raises(DamagedState, match=r"(?s)no intact checkpoint.\n  checkpoint 2: .*\n  checkpoint 1: .*Restore"):
        store.load()


def test_a_checkpoint_of_a_newer_format_is_refused_not_passed_over(open_store):
    store = open_store()
    store.commit(FIRST)
    store.commit(SECOND)
    with store.database.writing() as connection:
        connection.execute(update(checkpoints).where(checkpoints.c.number == 2).values(format=7))
    with pytest.raises(NewerSchema, match="checkpoint 2 of late-flights has format 7"):
        store.load()


def test_only_what_two_checkpoints_need_is_kept(open_store):
    store = open_store()
    for number in range(1, 8):
        store.commit(Checkpoint(b"%d" % number, [Block("weights", 0, b"%d" % number), Block("rows", number, b"r")]))
    store.commit(Checkpoint(b"8", [Block("rows", number, None) for number in range(1, 8)]))
    store.commit(Checkpoint(b"9"))
    with store.database.reading() as connection:
        assert connection.scalars(select(checkpoints.c.number)).all() == [8, 9]
        assert connection.execute(select(blocks.c.kind, blocks.c.checkpoint)).all() == [("weights", 7)]


def test_a_block_given_twice_is_refused(open_store):
    store = open_store()
    with pytest.raises(ValueError, match="checkpoint 1: a block is given twice"):
        store.commit(Checkpoint(b"1", [Block("rows", 0, b"a"), Block("rows", 0, None)]))


def test_models_in_one_database_keep_apart(open_store):
    one, two = open_store("one"), open_store("two")
    one.commit(FIRST)
    for _ in range(3):
        two.commit(SECOND)
    assert everything(one) == (1, b"one", FIRST_BLOCKS, [], [], [], [])
    assert everything(two)[:3] == (3, b"two", {("weights", 0): b"w2", ("rows", 2): b"r2"})


def test_bytes_written_are_counted(open_store):
    committed = open_store().commit(SECOND)
    assert (committed.bytes, committed.snapshot) == (3 + 2 + 2 + 5, 1)


@pytest.mark.parametrize("where", ["file", "memory"])
def test_a_writer_thread_and_a_reader_get_along(where, url):
    store = Store.open(url if where == "file" else "sqlite://", "m")
    store.acquire()
    store.load()
    errors = []

    def write():
        try:
            for number in range(1, 31):
                store.commit(Checkpoint(b"%d" % number, [Block("rows", number, b"%d" % number)], [ALERT]))
        except BaseException as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        assert len(store.alerts()) <= 1
    writer.join()
    assert errors == []
    assert len(store.load().blocks) == 30
    store.close()


def test_snapshots_come_back_and_the_newest_48_stay(open_store):
    store = open_store(now=lambda: 7)
    for number in range(1, 51):
        store.commit(Checkpoint(b"", snapshots=[NewSnapshot(number, "hourly", {"at": [number]}, b"%d" % number)]))
    kept = store.snapshots()
    assert [snapshot.number for snapshot in kept] == list(range(50, 1, -1))  # the last is the parent of the 48th
    lineage = {"at": [50], "parent": 49}
    assert (kept[0].watermark, kept[0].checkpoint, kept[0].created_at, kept[0].lineage) == (50, 50, 7, lineage)
    assert store.snapshot(3) == b"3"
    with pytest.raises(NoSuchSnapshot, match="late-flights has no snapshot 1: kept are 2 to 50"):
        store.snapshot(1)
    with store.database.writing() as connection:
        connection.execute(update(snapshots).where(snapshots.c.number == 9).values(data=b"0"))
    with pytest.raises(DamagedBlob, match="snapshot 9 does not match"):
        store.snapshot(9)


def test_snapshots_of_an_undone_checkpoint_go_with_it(open_store):
    store = open_store()
    store.commit(SECOND)
    store.commit(SECOND)
    damage(store, "state")
    store.load()
    store.commit(FIRST)
    with store.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(snapshots)) == 1
