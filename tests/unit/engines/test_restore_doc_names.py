"""Names in RESTORE.md were chosen by whoever may create a database: they stay names, and never become commands."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from databosun.engines.base import RestoreDoc
from databosun.engines.postgresql.restore_doc import restore_markdown
from databosun.engines.postgresql.restore_doc_text import word

EVIL = "x\n```\n\n```bash\ntouch /tmp/evil\n```\n"


def markdown(method: str) -> str:
    manifest: dict[str, Any] = {
        "id": "orders-1",
        "type": "Full",
        "method": method,
        "artefacts": [{"name": "base.tar.zst"}, {"name": "16500.tar.zst"}],
        "database": {"engineVersion": "17.1"},
        "environment": {
            "databases": [{"name": EVIL, "folder": "evil"}, {"name": "plain", "folder": "plain"}],
            "tablespaces": [{"oid": 16500, "name": EVIL, "location": "/srv/a b"}],
            "bootstrapSuperuser": EVIL,
        },
    }
    return restore_markdown(RestoreDoc(manifest=manifest, chain=(manifest,)))


@pytest.mark.parametrize("method", ["Physical", "Logical"])
def test_no_name_begins_a_line_of_its_own(method: str) -> None:
    text = markdown(method)
    assert not [line for line in text.splitlines() if line.startswith("touch /tmp/evil")]
    fences = re.findall(r"(?m)^```(.*)$", text)
    assert set(fences[::2]) <= {"bash", "sh"}
    assert set(fences[1::2]) == {""}


@pytest.mark.parametrize("name", [EVIL, "it's", "a`b", "größe", "$HOME", ""])
def test_a_word_is_that_name_again_in_bash(name: str) -> None:
    said = subprocess.run(["bash", "-c", f"printf %s {word(name)}"], capture_output=True, check=True)
    assert said.stdout.decode() == name
    assert "\n" not in word(name)
