"""Which databases a policy covers."""

from __future__ import annotations

from collections.abc import Mapping

from databosun.api.v1alpha1.backuppolicy import BackupPolicySpec


def covers(policy: BackupPolicySpec, database: str, labels: Mapping[str, str]) -> bool:
    """Whether the policy names the database of its namespace, or selects its labels."""
    if policy.database_ref is not None:
        return policy.database_ref.name == database
    selector = policy.database_selector
    return selector is not None and all(labels.get(key) == value for key, value in selector.match_labels.items())
