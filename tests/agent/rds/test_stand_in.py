"""The account that stands in for AWS: seeded twice it is the same, and its copies lead where its instances do."""

from __future__ import annotations

import pytest

from agent.rds.conftest import Yard
from support.awsrds import production

pytestmark = pytest.mark.servers


def test_seeding_again_brings_back_only_what_is_gone(yard: Yard) -> None:
    client = yard.account.client()
    client.create_db_snapshot(DBSnapshotIdentifier="mine", DBInstanceIdentifier="orders")
    before = client.describe_db_instances()["DBInstances"][0]["DbiResourceId"]
    production(yard.account)
    assert client.describe_db_instances()["DBInstances"][0]["DbiResourceId"] == before
    client.delete_db_instance(DBInstanceIdentifier="orders", SkipFinalSnapshot=True)
    production(yard.account)
    assert yard.instances() == ["orders"]
    assert [one["DBSnapshotIdentifier"] for one in yard.snapshots()] == ["mine"]


def test_every_endpoint_leads_to_the_same_server(yard: Yard) -> None:
    client = yard.account.client()
    client.create_db_snapshot(DBSnapshotIdentifier="mine", DBInstanceIdentifier="orders")
    client.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="copy", DBSnapshotIdentifier="mine")
    found = {
        one["DBInstanceIdentifier"]: (one["Endpoint"]["Address"], one["Endpoint"]["Port"])
        for one in client.describe_db_instances()["DBInstances"]
    }
    assert found == {"orders": ("127.0.0.1", 1), "copy": ("127.0.0.1", 1)}
