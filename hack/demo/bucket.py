"""The demo's bucket, read as anybody reads one: through the S3 server's own port, without the operator."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import zstandard

from hack.common import Failure
from hack.demo.stage import NAMESPACE, Cluster

BUCKET = "backups"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Of the server `objects`."""

    client: Any

    def keys(self, prefix: str) -> list[str]:
        """In their order."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        """One object."""
        data: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return data

    def document(self, key: str) -> tuple[dict[str, Any], bytes]:
        """A JSON object, and its bytes."""
        data = self.read(key)
        return json.loads(data), data

    def unpacked(self, keys: list[str]) -> bytes:
        """Of zstd: one artefact, which may lie in several objects."""
        packed = b"".join(map(self.read, keys))
        return zstandard.ZstdDecompressor().decompressobj().decompress(packed)


@contextmanager
def open_bucket(cluster: Cluster) -> Iterator[Bucket]:
    """As long as a port is forwarded to the server."""
    argv = ["kubectl", "port-forward", "-n", NAMESPACE, "deployment/objects", ":8333"]
    with subprocess.Popen(argv, env=dict(cluster.environment), stdout=subprocess.PIPE, text=True) as forward:
        try:
            line = forward.stdout.readline() if forward.stdout else ""
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            if found is None:
                raise Failure(f"kubectl port-forward said {line!r}; expected the port that it listens on")
            yield Bucket(
                boto3.client(
                    "s3",
                    endpoint_url=f"http://127.0.0.1:{found[1]}",
                    region_name="us-east-1",
                    aws_access_key_id="databosun",
                    aws_secret_access_key="databosun-secret",  # noqa: S106 (of hack/demo/objects.yaml)
                )
            )
        finally:
            forward.terminate()
