"""The operator plans for just what the agent can carry out."""

from __future__ import annotations

from databosun.domain.failovertest import PROVIDERS
from databosun.engines.registry import failover_providers


def test_the_operator_takes_the_providers_that_the_agent_serves() -> None:
    assert failover_providers() == {(provider, name) for provider, names in PROVIDERS.items() for name in names}
