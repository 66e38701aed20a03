"""Fresh age identities."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AgeKey:
    """A recipient, and the file that holds its identity."""

    recipient: str
    identity: Path

    def decrypt(self, data: bytes) -> bytes:
        """With the age program, as a person would."""
        argv = ["age", "--decrypt", "--identity", str(self.identity)]
        return subprocess.run(argv, input=data, capture_output=True, check=True).stdout


def make_age_key(folder: Path, name: str = "identity.txt") -> AgeKey:
    """Make one."""
    identity = folder / name
    subprocess.run(["age-keygen", "-o", str(identity)], capture_output=True, check=True)
    recipient = subprocess.run(["age-keygen", "-y", str(identity)], capture_output=True, check=True, text=True)
    return AgeKey(recipient.stdout.strip(), identity)
