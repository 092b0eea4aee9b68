"""What events say of a served score: read whole, or counted as unreadable; never an error."""

import json

from hypothesis import given
from hypothesis import strategies as st

from stream.claims import ClaimDecoder

scores = st.one_of(st.none(), st.floats(-0.5, 1.5), st.sampled_from([0, 1, True, "0.5", [], 1e300]))
versions = st.one_of(
    st.none(), st.integers(-2, 9), st.sampled_from([1 << 62, (1 << 63) - 1, 1 << 63, 1 << 80, 1.5, "7"])
)
hashes = st.one_of(
    st.none(),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 64) - 1).map(lambda value: f"{value:x}"),
    st.sampled_from(["", "xyz", "1" * 17, -1, 1 << 64, 2.5, {}]),
)
claims = st.fixed_dictionaries({}, optional={"p": scores, "v": versions, "h": hashes})


def plain(claim):
    """What a claim says, False if it is unreadable, None if there is none."""
    p, v, h = (claim.get(name) for name in "pvh")
    if p is None and v is None and h is None:
        return None
    if type(p) not in (int, float) or not 0 <= p <= 1 or type(v) is not int or not 0 <= v < 1 << 63:
        return False
    if isinstance(h, str) and h and set(h) <= set("0123456789abcdef"):
        h = int(h, 16)
    return (float(p), v, h) if type(h) is int and 0 <= h < 1 << 64 else False


@given(st.lists(claims, max_size=10))
def test_every_claim_is_read_by_itself(told):
    decoder = ClaimDecoder(score="served.p", version="served.v", row_hash="h")
    messages = []
    for claim in told:
        served = {name: claim[name] for name in "pv" if name in claim}
        rest = {"h": claim["h"]} if "h" in claim else {}
        messages.append(json.dumps({"id": 1, "served": served or None} | rest).encode())
    found = decoder.decode(messages)
    expected = [(i, said) for i, claim in enumerate(told) if (said := plain(claim)) is not None]
    assert found.message.tolist() == [i for i, _ in expected]
    assert found.whole.tolist() == [said is not False for _, said in expected]
    columns = zip(found.score.tolist(), found.version.tolist(), found.row_hash.tolist(), strict=True)
    assert list(columns) == [said or (0.0, 0, 0) for _, said in expected]
