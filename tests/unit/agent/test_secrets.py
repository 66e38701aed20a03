"""A missing Secret or key is said at once, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from databosun.agent.secrets import Secrets
from databosun.api.targets import SecretUse
from databosun.domain.errors import UserFault

USES = [
    SecretUse(use="database", secret="orders-backup", keys={"username": "user", "password": "pw"}),
    SecretUse(use="storage", secret="s3", keys={"secretAccessKey": "secretAccessKey"}),
]


def lay(root: Path, use: str, **files: str) -> None:
    (root / use).mkdir(exist_ok=True)
    for name, value in files.items():
        (root / use / name).write_text(value)


def test_all_there(tmp_path: Path) -> None:
    lay(tmp_path, "database", username="u\n", password="pässwörd\r\n")
    lay(tmp_path, "storage", secretAccessKey="k")
    secrets = Secrets(tmp_path, USES, "shop")
    secrets.demand()
    assert secrets.text("database", "password") == "pässwörd"
    assert secrets.text("storage-ca", "ca.crt") is None
    assert sorted(secrets.values()) == ["k", "pässwörd"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "Secret shop/orders-backup with key pw is not there"),
        ({"username": "u"}, "Secret shop/orders-backup has no key pw"),
        ({"username": "u", "password": ""}, "Secret shop/orders-backup has no key pw"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, files: dict[str, str], said: str) -> None:
    lay(tmp_path, "database", **files)
    with pytest.raises(UserFault, match="SecretMissing") as refused:
        Secrets(tmp_path, USES, "shop").demand()
    assert said in refused.value.message
    assert "Secret shop/s3 with key secretAccessKey is not there" in refused.value.message
