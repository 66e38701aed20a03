"""Amazon RDS for tests: the stand-in of `hack/cloud` on a free loopback port, with a script.

A test may say which states an instance or a snapshot is in, what the API answers to an action, and ask what was called.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from wsgiref.types import WSGIEnvironment

import boto3
from hack.cloud import account as stand_in
from hack.cloud import seed as seeding
from hack.cloud.account import Answer, serving
from hack.cloud.seed import Production, seed

REGION, OTHER_REGION = "eu-central-1", "eu-west-1"
KEYS = ("AKDATABOSUNCLOUD001", "cloud-test-secret-key-91ac")
_STATUS = {
    "instance": rb"(<DBInstanceStatus>)available(</DBInstanceStatus>)",
    "snapshot": rb"(<Status>)available(</Status>)",
}


@dataclass
class Refusal:
    """What the API answers to an action instead of doing it, `times` over."""

    action: str
    code: str
    times: int = 1
    status: int = 400
    after: bool = False  # do it all the same: the answer is lost


@dataclass
class Account:
    """One AWS account. `states`: of what kind, which states are told, one an answer, before `available`."""

    endpoint: str
    host: str = "127.0.0.1"
    port: int = 0
    states: dict[str, list[str]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    calls: list[dict[str, str]] = field(default_factory=list)
    hook: Any = None
    change: Any = None  # of (what was asked, the body): what is answered
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def client(self, region: str = REGION, service: str = "rds") -> Any:
        """A person with all rights."""
        if (service, region) not in self._clients:
            self._clients[service, region] = boto3.client(
                service,
                region_name=region,
                endpoint_url=self.endpoint,
                aws_access_key_id=KEYS[0],
                aws_secret_access_key=KEYS[1],
            )
        return self._clients[service, region]

    def asked(self, action: str) -> list[dict[str, str]]:
        """The calls of an action so far."""
        return [one for one in self.calls if one["Action"] == action]

    def reset(self) -> None:
        """Forget everything."""
        self.states.clear()
        self.refusals.clear()
        self.hook = self.change = None
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST"))
        self.calls.clear()


class _Scripted(stand_in.Account):
    """Between the client and moto."""

    def __init__(self, account: Account) -> None:
        super().__init__(lambda: (account.host, account.port) if account.port else None)
        self._account = account

    def answer(self, asked: Mapping[str, str], environ: WSGIEnvironment) -> Answer:
        """As the test says; where it says nothing, as moto does."""
        action, account = asked.get("Action", ""), self._account
        if action:
            account.calls.append(dict(asked))
            if account.hook is not None:
                account.hook(asked)
        refused = next((one for one in account.refusals if one.action == action and one.times > 0), None)
        if refused is not None:
            refused.times -= 1
            if not refused.after:
                return _refusal(refused)
        answer = super().answer(asked, environ)
        if action and account.change is not None:
            answer = replace(answer, body=account.change(asked, answer.body))
        if refused is not None:
            return _refusal(refused)
        return replace(answer, body=self._changed(asked, answer.body)) if answer.status.startswith("200") else answer

    def _changed(self, asked: Mapping[str, str], body: bytes) -> bytes:
        kind = {"DescribeDBInstances": "instance", "DescribeDBSnapshots": "snapshot"}.get(asked.get("Action", ""), "")
        states = self._account.states.get(kind)
        # Only what Databosun made passes through states, where it is asked for by name: production is as it is.
        named = asked.get("DBInstanceIdentifier" if kind == "instance" else "DBSnapshotIdentifier", "")
        if states and named.startswith("databosun-"):
            body = re.sub(_STATUS[kind], rb"\g<1>" + states.pop(0).encode() + rb"\g<2>", body)
        return body


def _refusal(refused: Refusal) -> Answer:
    text = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{refused.code}</Code><Message>as the test says</Message>"
        "</Error><RequestId>1</RequestId></ErrorResponse>"
    ).encode()
    return Answer(f"{refused.status} Refused", (("Content-Type", "text/xml"),), text)


@contextmanager
def aws() -> Iterator[Account]:
    """A running server; ended with the test's process at the latest."""
    account = Account("")
    with serving(_Scripted(account)) as account.endpoint:
        yield account


CLUSTER_GROUP = "cluster-drills"
GROUP, SUBNETS, DRILL_SG, PROD_SG = "drills", "inside", "sg-0drill000", "sg-0prod0000"


def production(account: Account, *, engine: str = "postgres", version: str = "15.4", name: str = "orders") -> None:
    """An encrypted instance with backups of its own, and a place for drills."""
    seed(account.client(), account.client(service="ec2"), Production(name, engine, version, GROUP, SUBNETS, PROD_SG))
    account.calls.clear()


def clustered(account: Account, *, name: str = "orders-cluster", version: str = "15.4") -> None:
    """A cluster of Aurora PostgreSQL with one writer, beside `production`, and a place for drills of it."""
    client = account.client()
    client.create_db_cluster_parameter_group(
        DBClusterParameterGroupName=CLUSTER_GROUP, DBParameterGroupFamily="aurora-postgresql15", Description="drills"
    )
    quiet = {"ParameterName": "max_logical_replication_workers", "ParameterValue": "0", "ApplyMethod": "pending-reboot"}
    client.modify_db_cluster_parameter_group(DBClusterParameterGroupName=CLUSTER_GROUP, Parameters=[quiet])
    client.create_db_cluster(
        DBClusterIdentifier=name, Engine="aurora-postgresql", EngineVersion=version, MasterUsername="master",
        MasterUserPassword="never-used-1", DBSubnetGroupName=SUBNETS, VpcSecurityGroupIds=[PROD_SG],
        BackupRetentionPeriod=7, StorageEncrypted=True,
    )  # fmt: skip
    client.create_db_instance(
        DBInstanceIdentifier=f"{name}-1", DBClusterIdentifier=name, Engine="aurora-postgresql",
        DBInstanceClass="db.r6g.large",
    )  # fmt: skip
    account.calls.clear()


def set_parameter(account: Account, name: str, value: str) -> None:
    """In the parameter group of drills."""
    seeding.set_parameter(account.client(), GROUP, name, value)


def shown(account: Account, region: str = REGION) -> str:
    """All snapshots and instances, to compare."""
    client = account.client(region)
    instances = sorted(one["DBInstanceIdentifier"] for one in client.describe_db_instances()["DBInstances"])
    made = sorted(one["DBSnapshotIdentifier"] for one in client.describe_db_snapshots()["DBSnapshots"])
    return json.dumps({"instances": instances, "snapshots": made})
