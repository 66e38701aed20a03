"""What a server holds that another never had."""

from __future__ import annotations

import pytest

from databosun.api.v1alpha1.database import EngineName
from databosun.engines.mysql.failover.gtids import errant, parse_state
from databosun.engines.mysql.failover.words import words_of


def test_a_state_by_domain_and_server() -> None:
    assert parse_state("0-1-12,\n0-2-9,1-1-3") == {(0, 1): 12, (0, 2): 9, (1, 1): 3}
    assert parse_state("") == {}
    with pytest.raises(ValueError, match="not enough values"):
        parse_state("0-1")


def test_what_the_primary_has_is_not_errant() -> None:
    assert errant("0-1-10", "0-1-12") == []
    assert errant("", "0-1-12") == []


def test_what_only_the_replica_has_is() -> None:
    assert errant("0-1-10,0-2-11", "0-1-12") == ["0-2-11"]
    assert errant("0-1-13,3-3-1", "0-1-12") == ["0-1-13", "3-3-1"]


def test_of_sets_what_another_one_lacks_is() -> None:
    mine, other = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "9c4519e7-ece6-11f1-ae6c-02fc00000001"
    lacking = words_of(EngineName.MYSQL).errant
    assert lacking(f"{mine}:1-10", f"{mine}:1-12") == []
    assert lacking("", f"{mine}:1-12") == []
    assert lacking(f"{mine}:1-12:tag:1-2,\n{other}:3", f"{mine}:1-4:8-20") == [f"{mine}:5-7:tag:1-2", f"{other}:3"]
