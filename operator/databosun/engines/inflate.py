"""A compressed artefact as plain bytes, in bounded memory however well it was compressed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, cast

import zstandard

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop
from databosun.engines.recovery import ArtefactReader

BUFFER_BYTES = 1024 * 1024


def inflated(reader: ArtefactReader, pulse: Callable[[], None] = lambda: None) -> Iterator[memoryview]:
    """Its pieces, in order, each valid until the next. SafetyStop(ArtefactCorrupt) where the stream cannot be read.

    One that is cut ends early here; the artefact's digest, which its source demands, tells.
    """
    source = cast("IO[bytes]", reader)
    buffer = memoryview(bytearray(BUFFER_BYTES))
    stream = zstandard.ZstdDecompressor().stream_reader(
        source, read_size=BUFFER_BYTES, read_across_frames=True, closefd=False
    )
    try:
        while count := stream.readinto(buffer):
            pulse()
            yield buffer[:count]
    except zstandard.ZstdError as error:
        message = f"{reader.name}: the zstd stream cannot be read: {error}"
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, message) from error
