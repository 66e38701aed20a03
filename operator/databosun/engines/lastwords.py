"""The end of what a program said, whatever it said before."""

from __future__ import annotations

KEPT = 16 * 1024  # bytes


class LastWords(bytearray):
    """At most so many bytes of whole lines. A line that is cut may hold the end of a secret, which nobody would know
    for one: so the first line goes where something went before it."""

    _cut = False

    def hear(self, data: bytes) -> None:
        """Add what comes."""
        self += data
        if len(self) > KEPT:
            self._cut = True
            del self[:-KEPT]

    @property
    def text(self) -> str:
        """The whole lines of it."""
        told = bytes(self).partition(b"\n")[2] if self._cut else bytes(self)
        return told.decode(errors="replace")
