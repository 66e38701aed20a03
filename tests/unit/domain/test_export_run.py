"""How long an export is kept is what its spec says, within bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.dataexport import DataExportSpec
from databosun.domain.errors import UserFault
from databosun.domain.exportrun import kept_for
from support.objects import dataexport


def spec(**more: Any) -> DataExportSpec:
    return DataExportSpec.model_validate(dataexport("e", datetime(2026, 3, 1, tzinfo=UTC), **more)["spec"])


def test_an_export_is_kept_for_a_month_or_as_it_says() -> None:
    assert kept_for(spec()) == timedelta(days=30)
    assert kept_for(spec(expiresAfter="1y")) == timedelta(days=365)


@pytest.mark.parametrize("wrong", ["366d", "59s"])
def test_an_export_is_kept_neither_for_ever_nor_for_no_time(wrong: str) -> None:
    with pytest.raises(UserFault, match=r"spec\.expiresAfter") as caught:
        kept_for(spec(expiresAfter=wrong))
    assert caught.value.reason == "InvalidSpec"
