"""The generated files, as they should be and as they are."""

from __future__ import annotations

from pathlib import Path

from databosun.api.v1alpha1.crd import crds_yaml
from hack.crds.reference import reference

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "crds"
REFERENCE = ROOT / "docs" / "reference" / "api.md"
GOLDEN = ROOT / "tests" / "crd" / "golden"


def wanted() -> dict[Path, str | None]:
    """What every generated file should hold; None for one that should not be there."""
    files: dict[Path, str | None] = dict.fromkeys(CRDS.glob("*.yaml"))
    files |= {CRDS / name: text for name, text in crds_yaml().items()}
    files[REFERENCE] = reference()
    return files


def golden() -> dict[Path, str | None]:
    """The schemas that later ones are compared with, were they today's."""
    files: dict[Path, str | None] = dict.fromkeys(GOLDEN.glob("*.yaml"))
    return files | {GOLDEN / name: text for name, text in crds_yaml().items()}


def drifted(files: dict[Path, str | None]) -> list[Path]:
    """Those that are not as they should be."""
    return [path for path, text in files.items() if (path.read_text() if path.exists() else None) != text]


def write(files: dict[Path, str | None]) -> list[Path]:
    """Put right what has drifted; returns it."""
    changed = drifted(files)
    for path in changed:
        text = files[path]
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return changed
