"""Part sizes keep any object within the limits of a multipart upload."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from databosun.storage.layout import VOLUME_BYTES
from databosun.storage.port import MAX_PARTS, PART_BYTES, part_bytes_for


def test_a_volume_needs_no_larger_parts() -> None:
    assert part_bytes_for(VOLUME_BYTES) == PART_BYTES


@given(st.integers(0, 5 * 1024**4))
def test_parts_grow_until_ten_thousand_are_enough(size: int) -> None:
    part = part_bytes_for(size)
    assert part >= PART_BYTES
    assert part % (1024 * 1024) == 0
    assert part * MAX_PARTS >= size
