"""How many rows to take at once, so that a step takes about as long as asked. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

FASTER, SLOWER = 2.0, 0.5  # at most so much from one step to the next: one odd step is no rule


@dataclass(frozen=True, slots=True)
class Pace:
    """`rows` to take next. `seconds`: how long a step should take. A step costs something whatever its size, so that
    where even a few rows take too long fewer would only take longer in all: `least` is given up for others alone."""

    rows: int
    seconds: float
    most: int
    least: int = 1

    def after(self, looked: int, took: float) -> Pace:
        """What the last step teaches. One that found fewer rows than it might have says only that it was slow."""
        change = min(FASTER, max(SLOWER, self.seconds / took if took > 0 else FASTER))
        if looked < self.rows and change > 1:
            return self
        least = min(self.rows, self.least)
        return replace(self, rows=max(1, least, min(self.most, round(self.rows * change))))

    def eased(self) -> Pace:
        """After a step that had to give way to others."""
        return replace(self, rows=max(1, self.rows // 2))
