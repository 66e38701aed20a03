"""The account in a pod: `serve` it; `seed` it anew, `delete` an instance, `show` what is there, as a person would;
make a `bucket`, have another team's `rule` put in it, and read its `rules`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from wsgiref.types import WSGIEnvironment

import boto3

from hack.cloud.account import Account, Answer, serving
from hack.cloud.seed import Production, seed

REGION, PORT = "eu-central-1", 5000
_CHANGES = ("Add", "Copy", "Create", "Delete", "Modify", "Remove", "Restore")
_NAMES = ("DBInstanceIdentifier", "TargetDBInstanceIdentifier", "DBSnapshotIdentifier", "TargetDBSnapshotIdentifier")


class Told(Account):
    """An account whose changes stand in the pod's log, as a trail of the cloud would have them."""

    def answer(self, asked: Mapping[str, str], environ: WSGIEnvironment) -> Answer:
        """The same, told."""
        answer = super().answer(asked, environ)
        action = asked.get("Action", "")
        if action.startswith(_CHANGES):
            named = " ".join(asked[name] for name in _NAMES if name in asked)
            _say(f"{datetime.now(UTC):%H:%M:%S} {answer.status[:3]} {action} {named}".rstrip())
        return answer


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _client(service: str, endpoint: str) -> Any:
    keys = {"aws_access_key_id": "person", "aws_secret_access_key": "person"}
    return boto3.client(service, region_name=REGION, endpoint_url=endpoint, **keys)


def _seed(endpoint: str) -> None:
    seed(_client("rds", endpoint), _client("ec2", endpoint), Production())


def _serve(leads_to: str) -> None:
    """Until SIGTERM. The door opens once the account is seeded: moto's memory is the process's own."""
    host, _, port = leads_to.rpartition(":")
    account = Told(lambda: (host, int(port)))
    with serving(account) as inside:
        _seed(inside)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with serving(account, "0.0.0.0", PORT):  # noqa: S104 (a pod's door)
        ended.wait()


def _show(endpoint: str) -> None:
    rds = _client("rds", endpoint)
    for one in rds.describe_db_instances()["DBInstances"]:
        _say(f"instance {one['DBInstanceIdentifier']} {one['DBInstanceStatus']}")
    for one in rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]:
        _say(f"snapshot {one['DBSnapshotIdentifier']} {one['Status']}, of {one['DBInstanceIdentifier']}")


def _bucket(endpoint: str, name: str) -> None:
    s3 = _client("s3", endpoint)
    if name not in [one["Name"] for one in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})


def _rules_of(s3: Any, bucket: str) -> list[dict[str, Any]]:
    try:
        return list(s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"])
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise
        return []


def _rule(endpoint: str, bucket: str, name: str, prefix: str, days: int) -> None:
    """Objects below the prefix are deleted after so many days; 0 takes the rule away. All others stay."""
    s3 = _client("s3", endpoint)
    rules = [one for one in _rules_of(s3, bucket) if one["ID"] != name]
    if days:
        rules.append({"ID": name, "Filter": {"Prefix": prefix}, "Status": "Enabled", "Expiration": {"Days": days}})
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def main() -> None:
    """One word of the command line."""
    parser = argparse.ArgumentParser(prog="cloud", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("serve").add_argument("leads_to", help="host:port behind the endpoint of every instance")
    verbs.add_parser("seed")
    verbs.add_parser("show")
    verbs.add_parser("delete").add_argument("instance")
    for verb in ("bucket", "rule", "rules"):
        verbs.add_parser(verb).add_argument("bucket")
    for word, kind in (("name", str), ("prefix", str), ("days", int)):
        verbs.choices["rule"].add_argument(word, type=kind)
    options = parser.parse_args()
    endpoint = f"http://127.0.0.1:{PORT}"
    if options.verb == "serve":
        _serve(options.leads_to)
    elif options.verb == "seed":
        _seed(endpoint)
    elif options.verb == "show":
        _show(endpoint)
    elif options.verb == "bucket":
        _bucket(endpoint, options.bucket)
    elif options.verb == "rule":
        _rule(endpoint, options.bucket, options.name, options.prefix, options.days)
    elif options.verb == "rules":
        _say(json.dumps(_rules_of(_client("s3", endpoint), options.bucket)))
    else:
        given = {"DBInstanceIdentifier": options.instance, "SkipFinalSnapshot": True}
        _client("rds", endpoint).delete_db_instance(**given)


main()
