"""A bucket with classes of storage and lifecycle rules: moto, which keeps rules, and moves nothing by itself.

What S3 does at midnight `sweep` does here: it moves each object to the class that a rule and its tag say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from hack.cloud import account as stand_in
from hack.cloud.account import Answer, serving

from databosun.api.targets import S3Target
from databosun.storage.s3 import S3ObjectStore
from databosun.storage.s3_access import S3Access

REGION = "us-east-1"
ACCESS_KEY, SECRET_KEY = "AKDATABOSUNCOLD001", "cold-test-secret-key-17"


@dataclass
class ColdServer:
    """The server. `calls`: method and path, in order; `garble`: what is replaced in the answers to GET ?lifecycle."""

    endpoint: str = ""
    calls: list[str] = field(default_factory=list)
    garble: list[tuple[bytes, bytes]] = field(default_factory=list)
    made: int = 0

    @property
    def client(self) -> Any:
        """A person with all rights."""
        return boto3.client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def bucket(self, like: ColdBucket | None = None) -> ColdBucket:
        """A new one, empty or with the objects of another."""
        self.made += 1
        name = f"backups-{self.made}"
        self.client.create_bucket(Bucket=name)
        self.garble.clear()
        for key in like.classes() if like is not None else ():
            self.client.copy_object(Bucket=name, Key=key, CopySource={"Bucket": like.name, "Key": key})
        return ColdBucket(self, name)


@dataclass
class ColdBucket:
    """One bucket."""

    server: ColdServer
    name: str

    @property
    def target(self) -> S3Target:
        """How the agent reaches it."""
        return S3Target(
            endpoint=self.server.endpoint, bucket=self.name, region=REGION, force_path_style=True, has_credentials=True
        )

    @property
    def store(self) -> S3ObjectStore:
        """As the project's own code has it."""
        return S3ObjectStore(S3Access(self.target, access_key=ACCESS_KEY, secret_key=SECRET_KEY))

    def rules(self) -> list[dict[str, Any]]:
        """As the server returns them."""
        try:
            found = self.server.client.get_bucket_lifecycle_configuration(Bucket=self.name)
        except self.server.client.exceptions.ClientError:
            return []
        return list(found["Rules"])

    def set_rules(self, *rules: Mapping[str, Any]) -> None:
        """As another program would: all of them replaced."""
        self.server.client.put_bucket_lifecycle_configuration(
            Bucket=self.name, LifecycleConfiguration={"Rules": list(rules)}
        )

    def tags(self) -> dict[str, dict[str, str]]:
        """Of every object that has any and can be asked."""
        found = {}
        for key, name in self.classes().items():
            if name not in ("GLACIER", "DEEP_ARCHIVE"):
                tags = self.server.client.get_object_tagging(Bucket=self.name, Key=key)["TagSet"]
                if tags:
                    found[key] = {one["Key"]: one["Value"] for one in tags}
        return found

    def tag(self, key: str, **tags: str) -> None:
        """As another program would."""
        wanted = [{"Key": name, "Value": value} for name, value in tags.items()]
        self.server.client.put_object_tagging(Bucket=self.name, Key=key, Tagging={"TagSet": wanted})

    def classes(self) -> dict[str, str]:
        """Class of every object."""
        found = self.server.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {one["Key"]: one.get("StorageClass", "STANDARD") for one in found}

    def sweep(self) -> list[str]:
        """What the bucket's rules of one prefix and one tag move, were all objects old enough."""
        moved = []
        for rule in self.rules():
            both = rule.get("Filter", {}).get("And", {})
            for key, tags in self.tags().items():
                wanted = {one["Key"]: one["Value"] for one in both.get("Tags", [])}
                if wanted and key.startswith(both["Prefix"]) and wanted.items() <= tags.items():
                    self.server.client.copy_object(
                        Bucket=self.name,
                        Key=key,
                        CopySource={"Bucket": self.name, "Key": key},
                        StorageClass=rule["Transitions"][0]["StorageClass"],
                        MetadataDirective="COPY",
                    )
                    moved.append(key)
        return moved


class _Listening(stand_in.Account):
    """Between the client and moto."""

    def __init__(self, server: ColdServer) -> None:
        super().__init__(lambda: None)
        self._server = server

    def answer(self, asked: Mapping[str, str], environ: Any) -> Answer:
        """As moto does, but for what a test garbles."""
        query = environ.get("QUERY_STRING", "")
        self._server.calls.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{query}")
        answer = super().answer(asked, environ)
        if environ["REQUEST_METHOD"] != "GET" or not query.startswith("lifecycle"):
            return answer
        body = answer.body
        for before, after in self._server.garble:
            body = body.replace(before, after)
        return Answer(answer.status, answer.headers, body)


@contextmanager
def cold_server() -> Iterator[ColdServer]:
    """A running one."""
    server = ColdServer()
    with serving(_Listening(server)) as server.endpoint:
        yield server
