"""What the operator knows of engines without loading one."""

from __future__ import annotations

import pytest

from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName
from databosun.controllers.context import Images
from databosun.domain.capabilities import CAPABILITIES, series_of
from databosun.domain.chain import choose_parent
from databosun.engines.registry import supported

IMAGES = Images({"MariaDB": {"10.6": "maria:10.6", "10.11": "maria:10.11"}, "PostgreSQL": {"9": "pg:9", "18": "pg:18"}})


def test_every_engine_that_is_served_has_an_entry() -> None:
    assert set(supported()) <= set(CAPABILITIES)


@pytest.mark.parametrize(
    ("engine", "version", "series"),
    [
        (EngineName.POSTGRESQL, "15.20", "15"),
        (EngineName.MARIADB, "10.11.19", "10.11"),
        ("Unknown", "3.2.1", "3"),
        (EngineName.MARIADB, None, None),
    ],
)
def test_a_series(engine: str, version: str | None, series: str | None) -> None:
    assert series_of(engine, version) == series


def test_the_image_is_of_the_servers_own_series_and_the_newest_where_that_is_unknown() -> None:
    assert IMAGES.runner("MariaDB", "10.6.21") == "maria:10.6"
    assert IMAGES.runner("MariaDB", "11.4.2") is None
    assert IMAGES.runner("MariaDB", None) == "maria:10.11"
    assert IMAGES.runner("PostgreSQL", None) == "pg:18"
    assert IMAGES.runner("Redis", None) is None


def test_without_incrementals_a_full_is_taken_and_said() -> None:
    footing = choose_parent(BackupType.INCREMENTAL, (), (), "store")
    assert footing.type is BackupType.FULL
    assert (footing.note or "").startswith("IncrementalUnsupported")
    missing = choose_parent(BackupType.INCREMENTAL, [Method.LOGICAL], (), "store")
    assert (missing.note or "").startswith("NoParent: no logical full")


def test_work_on_storage_alone_takes_the_image_of_the_engine_that_is_named_for_it() -> None:
    assert Images(IMAGES.by_engine, "PostgreSQL").any_runner() == "pg:18"
    assert Images(IMAGES.by_engine, "MariaDB").any_runner() == "maria:10.11"
    assert Images({"Redis": {"7": "redis:7"}}, "PostgreSQL").any_runner() == "redis:7"
    assert Images({}).any_runner() is None
