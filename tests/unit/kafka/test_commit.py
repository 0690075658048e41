from __future__ import annotations

import pytest

from streamserve.kafka.commit import ChangelogBatch, Frozen, GroupCommit, is_fenced
from streamserve.kafka.marks import OffsetMark
from streamserve.records import Emission

NO_MEMBER = b"CGMDv2:" + b"\xff" * 4 + b"app\0\0\1"
MEMBER = b"CGMDv2:" + (7).to_bytes(4, "little") + b"app\0member\0\1"
STATE = Emission("state", b"s", b"part", partition=0)


@pytest.mark.parametrize(("membership", "fenced"), [(MEMBER, True), (NO_MEMBER, False), (b"", False), (None, False)])
def test_only_a_generation_fences(membership: object, fenced: bool) -> None:
    assert is_fenced(membership) is fenced


def test_a_change_needs_a_value_or_a_tombstone_for_each_key() -> None:
    with pytest.raises(ValueError, match=r"changes\[2\]: 2 keys with 1 values"):
        ChangelogBatch("changes", 2, [b"a", b"b"], [b"1"])


def test_each_position_is_committed_with_the_mark_of_its_group() -> None:
    groups = [
        GroupCommit({("a", 0): 5, ("b", 0): 7}, 1_000, STATE, 42),
        GroupCommit({("a", 1): 9}, None, STATE),
        GroupCommit({("a", 2): 1}),
    ]
    found = {(item.topic, item.partition): item for item in Frozen(groups, MEMBER).offsets("w0")}
    assert {place: item.offset for place, item in found.items()} == {("a", 0): 5, ("b", 0): 7, ("a", 1): 9, ("a", 2): 1}
    marks = {place: OffsetMark.decode(item.metadata) for place, item in found.items()}
    assert marks["a", 0] == marks["b", 0] == OffsetMark("w0", 1_000, 42)
    assert marks["a", 1] == OffsetMark("w0", None, 0)  # the first state record: it may stand anywhere
    assert marks["a", 2] == OffsetMark("w0", None, None)
