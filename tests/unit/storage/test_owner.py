"""One cluster owns a folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from databosun.domain.errors import SafetyStop
from databosun.storage.layout import Layout
from databosun.storage.owner import Claimant, Claimed, claim, demand_ownership
from databosun.storage.volume import VolumeStore

LAYOUT = Layout("prod", "shop")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ONE, TWO = Claimant("cluster-one", "prod"), Claimant("cluster-two", "prod")


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    return VolumeStore(tmp_path)


def test_the_first_cluster_owns_the_folder_for_good(store: VolumeStore) -> None:
    assert claim(store, LAYOUT, ONE, NOW) == Claimed("cluster-one")
    assert claim(store, LAYOUT, ONE, NOW) == Claimed("cluster-one")
    demand_ownership(store, LAYOUT, ONE)


def test_a_second_cluster_is_refused_with_both_names_and_the_way_out(store: VolumeStore) -> None:
    claim(store, LAYOUT, ONE, NOW)
    for refuse in (lambda: claim(store, LAYOUT, TWO, NOW), lambda: demand_ownership(store, LAYOUT, TWO)):
        with pytest.raises(SafetyStop) as refused:
            refuse()
        assert refused.value.reason == "StorageOwnedByAnother"
        for word in ("cluster-one", "cluster-two", "spec.adoptFrom: cluster-one", "prod/shop/"):
            assert word in refused.value.message


def test_each_namespace_has_an_owner_of_its_own(store: VolumeStore) -> None:
    claim(store, LAYOUT, ONE, NOW)
    assert claim(store, Layout("prod", "crm"), TWO, NOW) == Claimed("cluster-two")


def test_adopting_takes_over_once_and_shuts_the_old_owner_out(store: VolumeStore) -> None:
    claim(store, LAYOUT, ONE, NOW)
    heir = Claimant("cluster-two", "prod", adopt_from="cluster-one")
    assert claim(store, LAYOUT, heir, NOW) == Claimed("cluster-two", adopted=True)
    assert claim(store, LAYOUT, heir, NOW) == Claimed("cluster-two")
    with pytest.raises(SafetyStop, match="cluster-two"):
        claim(store, LAYOUT, ONE, NOW)


def test_adopting_from_the_wrong_cluster_is_refused(store: VolumeStore) -> None:
    claim(store, LAYOUT, ONE, NOW)
    with pytest.raises(SafetyStop, match=r"spec\.adoptFrom names cluster-three"):
        claim(store, LAYOUT, Claimant("cluster-two", "prod", adopt_from="cluster-three"), NOW)


@pytest.mark.parametrize(
    "marker", [b"", b"{}", b"not json", b'{"clusterId": "cluster-one", "storage": "p", "namespace": "s", "layout": 9}']
)
def test_a_marker_that_is_none_is_nobody_s_to_overwrite(store: VolumeStore, marker: bytes) -> None:
    store.put(LAYOUT.owner, marker)
    with pytest.raises(SafetyStop, match="StorageOwnedByAnother"):
        claim(store, LAYOUT, ONE, NOW)
    assert store.get(LAYOUT.owner, limit=999) == marker


def test_an_unclaimed_folder_is_not_touched(store: VolumeStore) -> None:
    with pytest.raises(SafetyStop, match="has no owner marker"):
        demand_ownership(store, LAYOUT, ONE)
