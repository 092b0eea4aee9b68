"""From files to ops with events of several shapes: no kernel is compiled again for another layout.

The scenario is this file, run as a program of its own, so that no other test's calls count.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from stream import join_index, join_kernels, late_heap, merge, rows
from stream.decoding import EventDecoder, LabelDecoder
from stream.files import FileSource
from stream.join_state import Policy
from stream.joiner import Joiner
from stream.merge import EVENT, LABEL, Merger
from stream.rows import RowTable
from stream.schema import EventSchema, LabelSchema
from stream.source import Batch, Partition

# what only other kernels call is compiled with them
CALLED_FROM_PYTHON = (
    join_kernels.advance,
    join_index.insert,
    join_index.rebuild,
    late_heap.push_late,
    merge._release,
    rows._gather,
    rows._scatter,
    rows._compact,
)
POLICY = Policy(5_000_000, 1_000_000, 0, 3_000_000, at_maturity=True, missing_is_negative=True, labelled=False)


class Hashes(dict):
    def __missing__(self, value):
        return len(str(value))


def run(folder, names, *, labelled, poll_records):
    """The fates of all records, with a restart after each poll."""
    schema = EventSchema(
        topic="events",
        time="t",
        id="id",
        label="y" if labelled else None,
        categories=dict.fromkeys(names, Hashes()),
        numbers=tuple(f"n{name}" for name in names),
    )
    events = EventDecoder(schema, now_us=lambda: 10**15)
    labels = LabelDecoder(LabelSchema("labels", "id", "t", "y"), now_us=lambda: 10**15)
    nothing = Batch(Partition("", ""), np.zeros(0, np.int64), 0, [])
    merger = Merger(events_empty=events.decode(nothing, 0).columns, labels_empty=labels.decode(nothing, 0).columns)
    topics = ["events"] if labelled else ["events", "labels"]
    source = FileSource(folder, topics, bounded=True, max_message_bytes=500)
    for partition in source.partitions():
        merger.add(partition, kind=EVENT if partition.topic == "events" else LABEL)
    policy = POLICY._replace(labelled=labelled)
    joiner = Joiner(policy, RowTable(), cells=2, quiet_us=10**7)
    while not all(source.at_end(partition) and not len(lane) for partition, lane in merger.lanes.items()):
        chunks = []
        for batch in source.poll(merger.wanted(50), poll_records):
            lane = merger.lanes[batch.partition]
            chunks.append((events if lane.kind == EVENT else labels).decode(batch, lane.number))
        for partition, lane in merger.lanes.items():
            lane.live = not source.at_end(partition)
        merger.hold(chunks)
        for _ in joiner.advance(merger.release()):
            pass
        first, last, state = joiner.first_row, joiner.table.next, joiner.state()
        table = RowTable()
        table.restore(first, [(first, joiner.table.run(first, last))], joiner.table.status(first, last).copy())
        joiner = Joiner(policy, table, cells=2, quiet_us=10**7)
        joiner.restore(state)
    source.close()
    return joiner.fates()


def scenario(folder):
    fates = [
        [run(folder, names, labelled=labelled, poll_records=poll_records) for poll_records in (1, 7, 100)]
        for names in ("", "a", "abc")
        for labelled in (False, True)
    ]
    rows._compact(RowTable().rows, 0)
    return {"fates": fates, "signatures": {kernel.__name__: len(kernel.signatures) for kernel in CALLED_FROM_PYTHON}}


def test_every_kernel_has_one_signature(tmp_path):
    for topic in ("events", "labels"):
        (tmp_path / topic).mkdir()
        for part in range(2):
            records = [
                {"id": i % 9 + 10 * part, "t": i // 2 - 3 * (i % 5 == 0) * part, "y": i % 2, "na": 1.5}
                for i in range(60)
            ]
            lines = [json.dumps(record if i % 20 else {"t": None}) for i, record in enumerate(records)]
            (tmp_path / topic / f"{part}.jsonl").write_text("\n".join([*lines, "", "x" * 600, ""]))
    done = subprocess.run(
        [sys.executable, __file__, tmp_path],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        check=True,
    )
    told = json.loads(done.stdout)
    for one, seven, hundred in told["fates"]:
        assert one == seven == hundred
    assert [fates[0]["messages"] for fates in told["fates"]] == [4 * 62, 2 * 62] * 3
    assert told["signatures"] == {kernel.__name__: 1 for kernel in CALLED_FROM_PYTHON}


if __name__ == "__main__":
    print(json.dumps(scenario(Path(sys.argv[1]))))
