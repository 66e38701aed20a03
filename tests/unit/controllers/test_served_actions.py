"""What a LifecyclePolicy may ask of each engine, said before any Job is started."""

from __future__ import annotations

import pytest

from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec
from databosun.controllers.tiering import demand_served
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.errors import UserFault
from databosun.engines.registry import load_erasing, load_lifecycle


def spec(action: str) -> LifecyclePolicySpec:
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
                }
            ],
        }
    )


@pytest.mark.parametrize("engine", [EngineName.MARIADB, EngineName.MYSQL])
@pytest.mark.parametrize("action", ["DropPartition", "DetachPartition"])
def test_an_action_that_an_engine_does_not_have_is_refused_by_name(engine: EngineName, action: str) -> None:
    with pytest.raises(UserFault, match=f"rule old: this release has no {action} for {engine}") as caught:
        demand_served(spec(action), engine, None)
    assert caught.value.reason == "ActionUnsupported"
    assert "it has Anonymize, Archive, Delete, PurgeSoftDeleted" in caught.value.message


@pytest.mark.parametrize("engine", [EngineName.POSTGRESQL, EngineName.MARIADB, EngineName.MYSQL])
@pytest.mark.parametrize("action", ["Delete", "Archive", "PurgeSoftDeleted"])
def test_rules_on_rows_are_served(engine: EngineName, action: str) -> None:
    demand_served(spec(action), engine, None)


@pytest.mark.parametrize("engine", [EngineName.REDIS, EngineName.MONGODB, EngineName.RDS])
def test_an_engine_without_rules_is_refused_with_those_that_have_some(engine: EngineName) -> None:
    with pytest.raises(UserFault, match="it serves MariaDB, MySQL, PostgreSQL") as caught:
        demand_served(spec("Delete"), engine, None)
    assert caught.value.reason == "UnsupportedEngine"


@pytest.mark.parametrize("engine", list(CAPABILITIES))
def test_what_the_operator_lets_pass_the_agent_can_load(engine: str) -> None:
    known = CAPABILITIES[engine]
    for able, load in ((bool(known.actions), load_lifecycle), (known.erases, load_erasing)):
        if able:
            assert load(EngineName(engine)) is not None
            continue
        with pytest.raises(UserFault):
            load(EngineName(engine))
