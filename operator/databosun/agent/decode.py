"""Decryption by the `age` program, the mirror of `encode.Age`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from databosun.agent.ageprogram import AgeProgram
from databosun.agent.children import Children
from databosun.agent.reasons import AgentReason
from databosun.domain.errors import SafetyStop, UserFault, WorldFault

_WRONG_KEY = ("no identity matched", "incorrect")
_BAD_IDENTITY = ("malformed secret key", "unknown identity type", "failed to read", "no secret keys found", "identity")


class AgeDecoder(AgeProgram):
    """Decrypts a stream."""

    def __init__(self, children: Children, identities: Sequence[Path]) -> None:
        super().__init__(children, ["--decrypt", *(part for one in identities for part in ("--identity", str(one)))])

    def close(self) -> None:
        """Say that the ciphertext ended."""
        with contextlib.suppress(OSError):
            self.child.stdin.close()

    def demand_success(self) -> None:
        """Wait for its end. UserFault(IdentityWrong) for a key that does not fit, SafetyStop for damaged ciphertext."""
        try:
            self.child.wait()
        except WorldFault as error:
            said = self.child.said
            if any(words in said for words in _WRONG_KEY):
                message = (
                    f"no identity of spec.encryption.age.identitySecretRefs decrypts this backup (age: {said}); "
                    "add the identity of the recipient that it was encrypted to"
                )
                raise UserFault(AgentReason.IDENTITY_WRONG, message) from error
            if any(words in said for words in _BAD_IDENTITY):
                message = f"an identity of spec.encryption.age.identitySecretRefs cannot be read (age: {said})"
                raise UserFault(AgentReason.IDENTITY_WRONG, message) from error
            raise SafetyStop(AgentReason.ARTEFACT_CORRUPT, f"age cannot decrypt the artefact: {said}") from error
