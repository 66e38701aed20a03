"""What the chart's tests share."""

from __future__ import annotations

import pytest

from chart.rendering import Helm, Rendered, find_helm


@pytest.fixture(scope="session")
def helm() -> Helm:
    """The helm that renders the charts."""
    return Helm(find_helm())


@pytest.fixture(scope="session")
def default(helm: Helm) -> Rendered:
    """The chart with nothing said."""
    return helm.render()


@pytest.fixture(scope="session")
def namespaced(helm: Helm) -> Rendered:
    """The chart for the namespaces shop and bank."""
    return helm.render(watchNamespaces=["shop", "bank"], clusterId="here")
