"""A page of records as an inquiry hands it over: taken apart again, within bounds."""

from __future__ import annotations

import base64
import json
import zlib

MOST_BYTES = 64 * 1024 * 1024


def unpack(content: str) -> list[tuple[str, bytes]]:
    """Where each record lies, and its bytes. ValueError where this is no page."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(base64.b64decode(content, validate=True), MOST_BYTES)
        if not unpacker.eof:
            msg = f"it is cut, or holds more than {MOST_BYTES} bytes"
            raise ValueError(msg)
        pairs = json.loads(f"[{text.decode().rstrip(',')}]")
        return [(str(where), str(data).encode()) for where, data in pairs]
    except (zlib.error, TypeError) as error:
        raise ValueError(str(error)) from error
