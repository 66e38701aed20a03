"""The generated files are what the models say today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TOOL = ROOT / "hack" / "crds" / "crds"


def test_crds_and_reference_have_not_drifted() -> None:
    """Put it right with `uv run hack/crds/crds sync`."""
    done = subprocess.run([sys.executable, TOOL, "check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
