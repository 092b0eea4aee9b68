"""Blobs: what goes in comes out, and nothing else is let in."""

import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from storage.arrays import decode, encode
from storage.errors import DamagedBlob

DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">i4", ">f8"]
some_arrays = st.dictionaries(
    st.text(max_size=5),
    st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))),
    max_size=4,
)
some_headers = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)


@given(some_headers, some_arrays, st.booleans())
def test_round_trip(header, arrays, compress):
    header_back, back = decode(encode(header, arrays, compress=compress))
    assert header_back == header
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype.newbyteorder("=")
        assert back[name].shape == array.shape
        assert back[name].flags.carray  # C-contiguous, aligned, writable
        little = array.dtype.newbyteorder("<")
        assert back[name].astype(little).tobytes() == array.astype(little).tobytes()  # NaN payloads and -0.0 too


@given(some_arrays, st.booleans(), st.data())
@example(arrays={"a": np.ones(3)}, compress=False, data=None)
def test_a_cut_or_lengthened_blob_is_refused(arrays, compress, data):
    blob = encode({"a": 1}, arrays, compress=compress)
    cut = 20 if data is None else data.draw(st.integers(0, len(blob) - 1))
    for damaged in (blob[:cut], blob + b"\0"):
        with pytest.raises(DamagedBlob):
            decode(damaged)


@given(some_arrays, st.booleans(), st.data())
def test_a_flipped_bit_never_does_more_than_change_numbers(arrays, compress, data):
    blob = bytearray(encode({"a": 1}, arrays, compress=compress))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        _, back = decode(bytes(blob))
    except DamagedBlob:
        return
    assert len(back) == len(arrays)


PACKED = zlib.compress(bytes(8), 1)


def blob_with(entry, data):
    table = msgspec.msgpack.encode([{}, [entry]])
    return b"riverd" + (1).to_bytes(2, "little") + len(table).to_bytes(4, "little") + table + data


@pytest.mark.parametrize(
    ("entry", "data"),
    [
        (["a", "|O8", [1], 8, False], bytes(8)),
        (["a", "<f8", [-1], 8, False], bytes(8)),
        (["a", "<f8", [2], 8, False], bytes(8)),
        (["a", "<f8", [0, 2**62], 0, False], b""),
        (["a", "<f8", [2**62, 2**62], 8, True], bytes(8)),
        (["a", "|b1", [1], 1, False], b"\2"),
        (["a", "<f8", [1] * 65, 8, False], bytes(8)),
        (["a", "<f8", [1], 8, False, "more"], bytes(8)),
        (["a", "<f8", [1], len(PACKED) - 1, True], PACKED[:-1]),
        (["a", "<f8", [1], len(PACKED) + 1, True], PACKED + b"x"),
        (["a", "<f8", [2], len(PACKED), True], PACKED),
        (["a", "<f4", [1], len(PACKED), True], PACKED),
    ],
)
def test_a_lying_table_of_contents_is_refused(entry, data):
    with pytest.raises(DamagedBlob):
        decode(blob_with(entry, data))


def test_the_refusals_above_are_not_for_their_frame():
    assert decode(blob_with(["a", "<f8", [1], len(PACKED), True], PACKED))[1]["a"].tolist() == [0.0]
    assert decode(blob_with(["a", "<f8", [1], 8, False], bytes(8)))[1]["a"].tolist() == [0.0]


def test_a_blob_of_another_format_says_so():
    blob = encode({}, {})
    with pytest.raises(DamagedBlob, match="format 2; this riverd reads format 1"):
        decode(blob[:6] + b"\2\0" + blob[8:])


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.array([1j]), np.zeros(1, "M8[us]")])
def test_other_dtypes_are_refused(array):
    with pytest.raises(TypeError, match="only booleans, integers and floats"):
        encode({}, {"a": array})


def test_compression_is_kept_only_where_it_helps():
    noise = np.random.default_rng(1).integers(0, 256, 10_000, dtype=np.uint8)
    plain, packed = (encode({}, {"noise": noise, "zeros": np.zeros(10_000)}, compress=c) for c in (False, True))
    assert len(plain) > 90_000
    assert 10_000 < len(packed) < 11_000


def test_memory_order_does_not_matter():
    array = np.arange(12).reshape(3, 4)
    assert encode({}, {"a": np.asfortranarray(array)}) == encode({}, {"a": array})
    np.testing.assert_array_equal(decode(encode({}, {"a": array[::2, ::-1]}))[1]["a"], array[::2, ::-1])
