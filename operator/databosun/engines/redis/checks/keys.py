"""Keys: how many there are, and which. Exact, for the backup counted its own stream; never asked with KEYS."""

from __future__ import annotations

from collections.abc import Iterator

from databosun.api.drill import Check, CheckResult
from databosun.domain.drill import CheckReason
from databosun.engines.checking import compare_count, failed, passed, skipped
from databosun.engines.redis.checks.scene import Scene
from databosun.engines.redis.cluster import key_slot, range_text, served_by
from databosun.engines.redis.rdbfacts import Keyspace, name_hash
from databosun.engines.redis.resp import Wire, encode

_AT_ONCE = 1000
_NAMED = 5


def check_key_count(scene: Scene, check: Check) -> CheckResult:
    """Keys of a pattern (`table`) within bounds; without one, what was loaded is what the backup counted."""
    if asks_for_some(check):
        return _bounded(scene, check)
    keys = sum(count for count, _ in scene.loaded.values())
    observed = f"{keys} keys in {len(scene.loaded)} databases"
    if scene.server.replay:
        return passed(check, observed=f"{observed}, with the log behind the backup's snapshot")
    known = {number: counts for number, counts in scene.backup.counts.items() if counts[0]}
    numbers = sorted({*known, *scene.loaded})
    wrong = [f"db{number} has {_said(scene.loaded.get(number))}, not {_said(known.get(number))}" for number in numbers
             if scene.loaded.get(number) != known.get(number)]  # fmt: skip
    if wrong:
        message = f"{len(wrong)} databases differ from the backup's snapshot: {'; '.join(wrong[:_NAMED])}"
        return failed(check, CheckReason.ROW_COUNT_WRONG, message, observed=observed)
    return passed(check, observed=observed, expected=f"{sum(count for count, _ in known.values())} keys")


def asks_for_some(check: Check) -> bool:
    """Not for all that the backup counted, but for keys within bounds."""
    return bool(check.table) or check.database is not None or check.min is not None or check.max is not None


def check_names(scene: Scene, check: Check) -> CheckResult:
    """The keys that never expire are those of the snapshot, by name."""
    known, slots = scene.backup.names, scene.backup.slots
    if not known and not slots:
        return skipped(check, f"backup {scene.backup.id} carries no fingerprint of its names to compare with")
    wrong, seen, strays = [], 0, 0
    served = served_by(slots) if slots else None
    for number in sorted({*known, *(scene.loaded if slots else ())}):
        space, astray = _names(scene, number, served)
        seen, strays = seen + space.keys, strays + astray
        if number in known and space.fingerprint != known[number]:
            wrong.append(f"db{number}: {space.fingerprint}, not {known[number]}")
    if strays > scene.backup.strays:  # what has expired meanwhile may have been one
        message = f"{strays} keys lie outside of slots {range_text(slots)}, and {scene.backup.strays} did in the source"
        return failed(check, CheckReason.ROWS_DIFFER, message, observed=f"{strays} keys astray")
    observed = f"{seen} names without a time to live in {len(known)} databases"
    if wrong:
        message = f"the names of {len(wrong)} databases differ from the backup's snapshot: {'; '.join(wrong[:_NAMED])}"
        return failed(check, CheckReason.ROWS_DIFFER, message, observed=observed)
    return passed(check, observed=observed, expected=f"{len(known)} fingerprints equal")


def _names(scene: Scene, number: int, served: bytearray | None) -> tuple[Keyspace, int]:
    """Names of keys without a time to live, and how many of all lie in no slot that is served. SCAN may give one twice
    while a table grows: this copy does not grow."""
    space, strays = Keyspace(), 0
    with scene.connect(number) as wire:
        for names in _scan(wire, None, scene):
            wire.send(b"".join(encode("PTTL", name) for name in names))
            lasting = [name for name, left in zip(names, wire.answers(len(names)), strict=True) if left == -1]
            space.add(len(lasting), 0, sum(map(name_hash, lasting)))
            strays += sum(not served[key_slot(name)] for name in names) if served else 0
    return space, strays


def _bounded(scene: Scene, check: Check) -> CheckResult:
    return compare_keys(check, count_keys(scene, check), scene.database_of(check))


def compare_keys(check: Check, count: int, number: int) -> CheckResult:
    """Whether so many are within the check's bounds."""
    where = f"{check.table} in db{number}" if check.table else f"db{number}"
    return compare_count(check.model_copy(update={"table": where}), count)


def count_keys(scene: Scene, check: Check) -> int:
    """Keys of the check's pattern, or of its database. ValueError."""
    number = scene.database_of(check)
    with scene.connect(number) as wire:
        if check.table:
            return len({name for names in _scan(wire, check.table, scene) for name in names})
        said = wire.call("DBSIZE")
        return said if isinstance(said, int) else 0


def _scan(wire: Wire, pattern: str | None, scene: Scene) -> Iterator[list[bytes]]:
    cursor = b"0"
    more = ("MATCH", pattern) if pattern else ()
    while True:
        scene.pulse()
        said = wire.call("SCAN", cursor, *more, "COUNT", _AT_ONCE)
        if not isinstance(said, list) or len(said) != 2 or not isinstance(said[1], list):
            msg = f"SCAN gave {said!r:.80}"
            raise ValueError(msg)
        yield [name for name in said[1] if isinstance(name, bytes)]
        cursor = said[0] if isinstance(said[0], bytes) else b"0"
        if cursor == b"0":
            return


def _said(counts: tuple[int, int] | None) -> str:
    return f"{counts[0]} keys ({counts[1]} with a time to live)" if counts else "none"
