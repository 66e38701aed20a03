"""Paired measurements: contenders take turns in one run, so whatever else the machine does meets all alike."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Series:
    """What one contender needed, round by round: wall seconds, CPU seconds of this process and its children, bytes."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    size: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median wall seconds."""
        return statistics.median(self.wall)


def take_turns(contenders: Mapping[str, Callable[[], int]], *, rounds: int) -> dict[str, Series]:
    """Call each once a round, in an order that turns; each returns the bytes stored. The first round is a warm-up."""
    found = {name: Series() for name in contenders}
    names = list(contenders)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            cpu, start = _cpu(), time.perf_counter()
            size = contenders[name]()
            wall = time.perf_counter() - start
            if number:
                found[name].wall.append(wall)
                found[name].cpu.append(_cpu() - cpu)
                found[name].size.append(size)
    return found


def table(found: Mapping[str, Series], baseline: str) -> str:
    """Markdown: medians and the median of the paired ratios to the baseline."""
    lines = ["| | ratio | wall s | client CPU s | MB |", "| --- | --- | --- | --- | --- |"]
    base = found[baseline]
    for name, series in found.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(series.wall, base.wall, strict=True))
        size = statistics.median(series.size) / 1e6
        shown = name.replace("|", "\\|")
        lines.append(
            f"| {shown} | {ratio:.2f} | {series.median:.2f} | {statistics.median(series.cpu):.2f} | {size:.1f} |"
        )
    return "\n".join(lines)


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
