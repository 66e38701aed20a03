"""URLs of the API."""

from __future__ import annotations

from databosun.kube.resources import BACKUPS, CRDS, NAMESPACES, OWN_KINDS, PODS, Ref


def test_paths() -> None:
    assert BACKUPS.path("shop") == "/apis/databosun.io/v1alpha1/namespaces/shop/backups"
    assert BACKUPS.path(None) == "/apis/databosun.io/v1alpha1/backups"
    assert BACKUPS.path("shop", "a", "status") == "/apis/databosun.io/v1alpha1/namespaces/shop/backups/a/status"
    assert PODS.path("shop", "a", "log") == "/api/v1/namespaces/shop/pods/a/log"
    assert NAMESPACES.path("", "kube-system") == "/api/v1/namespaces/kube-system"


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    assert BACKUPS.path("shop", "../../x?y") == "/apis/databosun.io/v1alpha1/namespaces/shop/backups/..%2F..%2Fx%3Fy"


def test_names_for_people() -> None:
    assert BACKUPS.qualified == "backups.databosun.io"
    assert PODS.qualified == "pods"
    assert str(Ref(BACKUPS, "shop", "orders-1")) == "Backup shop/orders-1"
    assert str(Ref(CRDS, "", "x")) == "CustomResourceDefinition x"


def test_own_kinds_are_all_namespaced_and_of_one_group() -> None:
    assert {(kind.group, kind.version, kind.namespaced) for kind in OWN_KINDS} == {("databosun.io", "v1alpha1", True)}
