"""What the layout of the repository must not become."""

from __future__ import annotations

from pathlib import Path


def test_the_source_root_does_not_shadow_the_standard_module_operator() -> None:
    assert not (Path(__file__).resolve().parents[2] / "operator" / "__init__.py").exists()
