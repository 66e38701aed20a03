"""What a LifecyclePolicy may ask of each engine, said before any Job is started."""

from __future__ import annotations

from typing import Any

import pytest

from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec
from databosun.controllers.tiering import demand_served
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.errors import UserFault
from databosun.engines.registry import load_erasing, load_exporting, load_lifecycle


def spec(action: str, **more: str) -> LifecyclePolicySpec:
    """One rule."""
    return LifecyclePolicySpec.model_validate(
        {
            "databaseRef": {"name": "orders"},
            "storageRef": {"name": "prod"},
            "rules": [
                {
                    "name": "old",
                    "target": {"table": "orders"},
                    "match": {"column": "at", "olderThan": "90d"},
                    "action": {"type": action},
                    **more,
                }
            ],
        }
    )


@pytest.mark.parametrize("action", ["DropPartition", "DetachPartition"])
def test_an_action_that_an_engine_does_not_have_is_refused_by_name(action: str) -> None:
    for engine in (EngineName.POSTGRESQL, EngineName.MARIADB, EngineName.MYSQL):
        demand_served(spec(action), engine, None)
    with pytest.raises(UserFault, match=f"rule old: this release has no {action} for {EngineName.MONGODB}") as caught:
        demand_served(spec(action), EngineName.MONGODB, None)
    assert caught.value.reason == "ActionUnsupported"
    assert "it has Anonymize, Archive, Delete, EnsureTTL, PurgeSoftDeleted" in caught.value.message


@pytest.mark.parametrize("engine", [EngineName.POSTGRESQL, EngineName.MARIADB, EngineName.MYSQL])
def test_an_index_that_deletes_is_mongodbs_alone(engine: EngineName) -> None:
    demand_served(spec("EnsureTTL"), EngineName.MONGODB, None)
    with pytest.raises(UserFault, match=f"rule old: this release has no EnsureTTL for {engine}"):
        demand_served(spec("EnsureTTL"), engine, None)


@pytest.mark.parametrize("engine", [EngineName.POSTGRESQL, EngineName.MARIADB, EngineName.MYSQL, EngineName.MONGODB])
@pytest.mark.parametrize("action", ["Delete", "Archive", "PurgeSoftDeleted"])
def test_rules_on_rows_are_served(engine: EngineName, action: str) -> None:
    demand_served(spec(action), engine, None)


KEYS = {
    "databaseRef": {"name": "cache"},
    "storageRef": {"name": "prod"},
    "rules": [{"name": "old", "target": {"keyPattern": "a*"}, "action": {"type": "Delete"}}],
}


def test_rules_on_keys_are_served_where_there_are_keys() -> None:
    demand_served(LifecyclePolicySpec.model_validate(KEYS), EngineName.REDIS, None)


@pytest.mark.parametrize(
    ("asked", "engine", "says"),
    [
        (spec("Archive"), EngineName.REDIS, "rule old: this release has no Archive for Redis; it has Delete, Expire"),
        (spec("Delete"), EngineName.REDIS, "rule old: target table is orders, and Redis has keys; say keyPattern"),
        (KEYS, EngineName.POSTGRESQL, "rule old: target keyPattern is a*, and PostgreSQL has no keys; say table"),
        (
            {**KEYS, "holds": [{"name": "case", "table": "a", "reason": "b"}]},
            EngineName.REDIS,
            "hold case: its table is a, and Redis has keys",
        ),
        (
            {**spec("Delete").dump(), "holds": [{"name": "case", "keyPattern": "a*", "reason": "b"}]},
            EngineName.MYSQL,
            "hold case: its keyPattern is a*, and MySQL has no keys",
        ),
    ],
)
def test_rules_and_holds_are_about_what_the_engine_has(asked: Any, engine: EngineName, says: str) -> None:
    read = asked if isinstance(asked, LifecyclePolicySpec) else LifecyclePolicySpec.model_validate(asked)
    with pytest.raises(UserFault) as caught:
        demand_served(read, engine, None)
    assert caught.value.reason == "ActionUnsupported"
    assert says in caught.value.message


@pytest.mark.parametrize("engine", [EngineName.RDS])
def test_an_engine_without_rules_is_refused_with_those_that_have_some(engine: EngineName) -> None:
    with pytest.raises(UserFault, match="it serves MariaDB, MongoDB, MySQL, PostgreSQL, Redis") as caught:
        demand_served(spec("Delete"), engine, None)
    assert caught.value.reason == "UnsupportedEngine"


def test_children_are_refused_where_documents_do_not_refer_to_others() -> None:
    asked = spec("Delete", foreignKeys="ChildrenFirst")
    demand_served(asked, EngineName.POSTGRESQL, None)
    with pytest.raises(
        UserFault, match="rule old: foreignKeys is ChildrenFirst; MongoDB knows no references"
    ) as caught:
        demand_served(asked, EngineName.MONGODB, None)
    assert caught.value.reason == "ActionUnsupported"


@pytest.mark.parametrize("engine", list(CAPABILITIES))
def test_what_the_operator_lets_pass_the_agent_can_load(engine: str) -> None:
    known = CAPABILITIES[engine]
    for able, load in (
        (bool(known.actions), load_lifecycle),
        (known.erases, load_erasing),
        (known.erases, load_exporting),
    ):
        if able:
            assert load(EngineName(engine)) is not None
            continue
        with pytest.raises(UserFault):
            load(EngineName(engine))
