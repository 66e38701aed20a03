"""Whatever a user may ask of a copy, every engine has an answer to it, if only that it has none."""

from __future__ import annotations

from importlib import import_module

import pytest

from databosun.api.drill import CheckType


@pytest.mark.parametrize("engine", ["postgresql", "redis"])
def test_every_type_of_check_is_known(engine: str) -> None:
    known = import_module(f"databosun.engines.{engine}.checks.run")
    assert set(known._CHECKS) == set(CheckType)
