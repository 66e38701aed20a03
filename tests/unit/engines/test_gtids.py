"""What a server holds that another never had."""

from __future__ import annotations

import pytest

from databosun.engines.mysql.failover.gtids import errant, parse_state


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
