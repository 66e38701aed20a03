"""A real S3 server for tests: SeaweedFS on free loopback ports, with identities, so that signatures are checked.

It counts as one process of the test that starts it, and is ended by its id. Telemetry is off.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from databosun.api.targets import S3Target
from databosun.storage.s3 import S3ObjectStore
from databosun.storage.s3_access import Patience, S3Access
from support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ACCESS_KEY = "AKDATABOSUNTEST0001"
SECRET_KEY = "seaweed-test-secret-key-7c41"
READER_KEY = "AKDATABOSUNREADER01"
READER_SECRET = "seaweed-reader-secret-key-1d2e"
REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Seaweed:
    """A running server. Buckets are made per test, so that tests share it."""

    endpoint: str
    client: S3Client = field(repr=False)

    def bucket(self, *, lock: bool = False) -> str:
        """A fresh bucket, with object lock where asked."""
        name = f"test-{uuid.uuid4().hex[:16]}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        return name

    def target(self, bucket: str, *, endpoint: str | None = None) -> S3Target:
        """The bucket as a request names it."""
        return S3Target(
            endpoint=endpoint or self.endpoint,
            bucket=bucket,
            region=REGION,
            force_path_style=True,
            has_credentials=True,
        )

    def access(self, bucket: str, *, endpoint: str | None = None, patience: Patience | None = None) -> S3Access:
        """How to reach the bucket, by default through no proxy and with the patience of production."""
        return S3Access(
            self.target(bucket, endpoint=endpoint),
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            secret="s3",
            patience=patience or Patience(),
        )

    def store(self, bucket: str, *, endpoint: str | None = None, patience: Patience | None = None) -> S3ObjectStore:
        """The bucket as object store."""
        return S3ObjectStore(self.access(bucket, endpoint=endpoint, patience=patience))

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Every key, as another client sees them."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(one["Key"] for page in pages for one in page.get("Contents", ()))

    def uploads(self, bucket: str) -> list[str]:
        """The keys of unfinished multipart uploads."""
        return sorted(one["Key"] for one in self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", ()))


@contextmanager
def seaweed(folder: Path) -> Iterator[Seaweed]:
    """Start a server with its data in a folder of its own, wait until it serves, end it afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(_command(folder, ports), stdout=log, stderr=log, process_group=0)
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    client = make_client(endpoint)
    try:
        eventually("SeaweedFS serves S3", lambda: _serves(client, process, folder), 120)
        yield Seaweed(endpoint, client)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder / "data", ignore_errors=True)


def make_client(endpoint: str, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> S3Client:
    """Another client than the one under test."""
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=config,
    )


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


# A bucket takes several volumes of its own as soon as it is written to.
def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    identities = folder / "identities.json"
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    people = [("admin", ACCESS_KEY, SECRET_KEY, actions), ("reader", READER_KEY, READER_SECRET, ["Read", "List"])]
    identities.write_text(
        json.dumps(
            {
                "identities": [
                    {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": may}
                    for name, key, secret, may in people
                ]
            }
        )
    )
    weed = Path(sys.executable).parent / "weed"
    fixed = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.volumeSizeLimitMB=256"]
    more = ["-volume.max=2000", "-s3", f"-s3.config={identities}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    return [str(weed), "server", f"-dir={data}", *fixed, *more, *(f"-{name}={port}" for name, port in ports.items())]


def _serves(client: S3Client, process: subprocess.Popen[bytes], folder: Path) -> bool:
    if process.poll() is not None:
        msg = f"SeaweedFS ended with {process.returncode}: {(folder / 'weed.log').read_text()[-2000:]}"
        raise RuntimeError(msg)
    name = f"ready-{uuid.uuid4().hex[:12]}"
    try:
        client.create_bucket(Bucket=name)
        client.put_object(Bucket=name, Key="ready", Body=b"ready")
        client.delete_object(Bucket=name, Key="ready")
        client.delete_bucket(Bucket=name)
    except (ClientError, BotoCoreError):
        return False
    return True
