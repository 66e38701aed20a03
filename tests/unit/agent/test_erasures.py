"""A restore repeats what stands in the ledger when its copy is ready, by the age of what the copy holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from databosun.agent.erasures import repeat as repeating
from databosun.api.erasure import ErasureDone, ErasureEntry
from databosun.api.lifecycle import ActionType, LifecycleOrder, LimitsOrder, RuleOrder
from databosun.domain.erasure import Erased
from databosun.domain.errors import UserFault
from databosun.engines.erasing import Repeated

TAKEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULE = RuleOrder(
    name="customers", table="public.customers", action=ActionType.DELETE, subject_column="email",
    limits=LimitsOrder(max_rows_per_run=10, max_percent=100),
)  # fmt: skip


def erased(name: str, *, at: datetime = TAKEN + HOUR) -> Erased:
    """Of a person who was erased after the backup."""
    entry = ErasureEntry(
        id=name, uid="1", database="orders", database_uid="2", dbname="shop", subject="0" * 64, key_check="c", at=at,
        approved="p", order=LifecycleOrder(database_uid="2", storage="prod", rules=[RULE]),
    )  # fmt: skip
    return Erased(entry, ErasureDone(id=name, uid="1", entry_sha256="0" * 64, verified_at=at))


class Store:
    """The ledger, and what was done with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger: list[Erased] = []
        self.repeated: list[str] = []
        self.has_key = True
        monkeypatch.setattr(repeating, "read_ledger", lambda *_: list(self.ledger))
        monkeypatch.setattr(repeating, "demand_key", self._key)
        monkeypatch.setattr(repeating, "demand_same_key", lambda *_: None)
        monkeypatch.setattr(repeating, "load_erasing", lambda _engine: self)

    def repeat(
        self, _copy: object, entries: Sequence[ErasureEntry], _key: bytes, _pulse: Callable[[], None]
    ) -> tuple[Repeated, ...]:
        self.repeated += [one.id for one in entries]
        return tuple(Repeated(one.id, found=True, rows={"public.customers": 1}) for one in entries)

    def _key(self, _ctx: object) -> bytes:
        if not self.has_key:
            raise UserFault("ErasureKeyMissing", "it is not there")
        return b"k" * 32


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(monkeypatch)


def context() -> Any:
    return SimpleNamespace(
        database=SimpleNamespace(engine="PostgreSQL"), progress=SimpleNamespace(stage=lambda _: None),
        phase=lambda _: nullcontext(), stop=SimpleNamespace(check=lambda: None),
        log=SimpleNamespace(info=lambda *_, **__: None),
    )  # fmt: skip


def chosen() -> Any:
    described = SimpleNamespace(name="orders", system_identifier="7")
    return SimpleNamespace(last=SimpleNamespace(manifest=SimpleNamespace(
        id="orders-1", shows=TAKEN, database=described
    )))  # fmt: skip


def copy(last_commit: datetime | None = None) -> Any:
    return SimpleNamespace(reached=SimpleNamespace(last_commit=last_commit))


def test_who_was_erased_while_a_restore_ran_is_erased_in_its_copy_too(store: Store) -> None:
    store.ledger = [erased("erase-1")]
    due = repeating.outstanding(context(), chosen(), ())
    store.ledger.append(erased("erase-2", at=TAKEN + 2 * HOUR))
    (said,) = repeating.repeat(context(), due, chosen(), copy())
    assert store.repeated == ["erase-1", "erase-2"]
    assert said.observed.startswith("2 erasures repeated, 2 people found")


def test_the_key_is_demanded_of_a_restore_during_which_the_first_person_was_erased(store: Store) -> None:
    store.has_key = False
    due = repeating.outstanding(context(), chosen(), ())
    store.ledger = [erased("erase-1")]
    with pytest.raises(UserFault, match="ErasureKeyMissing"):
        repeating.repeat(context(), due, chosen(), copy())
    assert store.repeated == []


def test_who_asked_to_leave_erasures_out_is_told_of_those_meanwhile(store: Store) -> None:
    due = repeating.outstanding(context(), chosen(), (), wanted=False)
    store.ledger = [erased("erase-1")]
    (said,) = repeating.repeat(context(), due, chosen(), copy())
    assert (store.repeated, "erase-1" in said.message) == ([], True)


@pytest.mark.parametrize(("last_commit", "again"), [(None, True), (TAKEN + HOUR, True), (TAKEN + 2 * HOUR, False)])
def test_how_old_a_copy_is_tells_its_newest_commit(store: Store, last_commit: datetime | None, again: bool) -> None:
    store.ledger = [erased("erase-1")]
    due = repeating.outstanding(context(), chosen(), ())
    repeating.repeat(context(), due, chosen(), copy(last_commit))
    assert store.repeated == (["erase-1"] if again else [])
