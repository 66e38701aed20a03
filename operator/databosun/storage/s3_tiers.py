"""Lifecycle rules, storage classes and tags of a bucket, through boto3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

from databosun.storage.s3_extra import S3Extra
from databosun.storage.tiering import BucketRules

_READ = "GetBucketLifecycleConfiguration"
_ROOT = "LifecycleConfiguration"


class S3Tiers:
    """`Tiered` on an S3 bucket."""

    def __init__(self, extra: S3Extra) -> None:
        self._extra = extra

    def bucket_rules(self) -> BucketRules:
        """All lifecycle rules, and what of the answer the library does not know."""
        from botocore.exceptions import ClientError

        client, bucket = self._extra.client, self._extra.bucket
        try:
            with self._extra.faults("the lifecycle rules", passing=ClientError), _raw_answer(client) as raw:
                found = client.get_bucket_lifecycle_configuration(Bucket=bucket)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchLifecycleConfiguration":
                return BucketRules()
            raise self._extra.fault(error, "the lifecycle rules") from error
        unknown = _unknown(raw, client.meta.service_model.operation_model(_READ).output_shape)
        return BucketRules(tuple(found.get("Rules", ())), found.get("TransitionDefaultMinimumObjectSize"), unknown)

    def put_bucket_rules(self, rules: Sequence[Mapping[str, Any]], minimum_size: str | None) -> None:
        """Replace them."""
        more: dict[str, Any] = {"TransitionDefaultMinimumObjectSize": minimum_size} if minimum_size else {}
        wanted: Any = {"Rules": [dict(rule) for rule in rules]}
        with self._extra.faults("the lifecycle rules"):
            self._extra.client.put_bucket_lifecycle_configuration(
                Bucket=self._extra.bucket, LifecycleConfiguration=wanted, **more
            )

    def classes(self, prefix: str) -> Mapping[str, str]:
        """As the listing tells them."""
        with self._extra.faults(prefix):
            pages = self._extra.client.get_paginator("list_objects_v2").paginate(
                Bucket=self._extra.bucket, Prefix=f"{prefix}/"
            )
            return {
                one["Key"]: one.get("StorageClass", "STANDARD") for page in pages for one in page.get("Contents", ())
            }

    def tags(self, key: str) -> Mapping[str, str]:
        """The tags of one object."""
        with self._extra.faults(key):
            found = self._extra.client.get_object_tagging(Bucket=self._extra.bucket, Key=key)
        return {one["Key"]: one["Value"] for one in found["TagSet"]}

    def thaw(self, key: str, speed: str, days: int) -> None:
        """RestoreObject."""
        from botocore.exceptions import ClientError

        wanted: Any = {"Days": days, "GlacierJobParameters": {"Tier": speed}}
        try:
            with self._extra.faults(key, passing=ClientError):
                self._extra.client.restore_object(Bucket=self._extra.bucket, Key=key, RestoreRequest=wanted)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "RestoreAlreadyInProgress":
                raise self._extra.fault(error, key) from error

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace them."""
        wanted: Any = {"TagSet": [{"Key": name, "Value": value} for name, value in sorted(tags.items())]}
        with self._extra.faults(key):
            self._extra.client.put_object_tagging(Bucket=self._extra.bucket, Key=key, Tagging=wanted)


@contextmanager
def _raw_answer(client: Any) -> Iterator[list[bytes]]:
    """The bytes of the answer: what the library does not know it drops in silence."""
    seen: list[bytes] = []

    def keep(response_dict: Mapping[str, Any], **_: object) -> None:
        if response_dict.get("status_code") == 200:
            seen.append(response_dict["body"])

    event, name = f"before-parse.s3.{_READ}", "databosun"
    client.meta.events.register(event, keep, unique_id=name)
    try:
        yield seen
    finally:
        client.meta.events.unregister(event, keep, unique_id=name)


def _unknown(raw: Sequence[bytes], shape: Any) -> tuple[str, ...]:
    known = {_ROOT, *_names(shape)}
    elements = (one for body in raw for one in ElementTree.fromstring(body).iter())  # noqa: S314 (the server's own)
    return tuple(sorted({one.tag.rpartition("}")[2] for one in elements} - known))


def _names(shape: Any) -> set[str]:
    """The names of all elements that the library reads."""
    if shape.type_name == "structure":
        found: set[str] = set()
        for name, member in shape.members.items():
            found |= {member.serialization.get("name", name), *_names(member)}
        return found
    if shape.type_name == "list":
        return {shape.member.serialization.get("name", "member"), *_names(shape.member)}
    return set()
