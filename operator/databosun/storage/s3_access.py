"""How a bucket is reached: endpoint, keys, and how patient a request is; of it the client of obstore is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from obstore.store import S3Store

from databosun.api.targets import S3Target
from databosun.storage.s3_errors import Place

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

AMAZON = "Amazon S3"


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds on one request; the library retries 5xx, throttling and lost connections within them."""

    connect: timedelta = timedelta(seconds=10)
    request: timedelta = timedelta(seconds=120)  # a part of 16 MiB at 140 kB/s
    retries: int = 6
    retry_for: timedelta = timedelta(seconds=120)


HASTE = Patience(timedelta(seconds=5), timedelta(seconds=60), 1, timedelta(seconds=10))


@dataclass(frozen=True, slots=True)
class S3Access:
    """How to reach a bucket; without keys by workload identity. `secret`, `ca_secret`: Secrets, for messages."""

    target: S3Target
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    ca: Path | None = None
    secret: str | None = None
    ca_secret: str | None = None
    patience: Patience = Patience()
    part_bytes: int | None = None

    @property
    def place(self) -> Place:
        """For messages."""
        return Place(self.target.endpoint or AMAZON, self.target.bucket, self.secret, self.ca_secret)


def open_store(access: S3Access) -> S3Store:
    """The client of obstore for a bucket; it asks nothing of the server yet."""
    target, patience = access.target, access.patience
    client: ClientConfig = {
        "connect_timeout": patience.connect,
        "timeout": patience.request,
        "user_agent": "databosun",
    }
    if target.endpoint and target.endpoint.startswith("http://"):
        client["allow_http"] = True
    if access.ca:
        client["root_certificate"] = access.ca.read_bytes()
    retry: RetryConfig = {
        "max_retries": patience.retries,
        "retry_timeout": patience.retry_for,
        "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=10), "base": 2},
    }
    config: S3Config = {
        "region": target.region,
        "virtual_hosted_style_request": not target.force_path_style,
        "checksum_algorithm": "SHA256",
    }
    if target.endpoint:
        config["endpoint"] = _endpoint(target)
    if access.access_key and access.secret_key:
        config["access_key_id"] = access.access_key
        config["secret_access_key"] = access.secret_key
    return S3Store(target.bucket, config=config, client_options=client, retry_config=retry)


def _endpoint(target: S3Target) -> str:
    """The endpoint, with the bucket in its host name where path style is not forced: obstore takes it as it is."""
    endpoint = (target.endpoint or "").rstrip("/")
    if target.force_path_style:
        return endpoint
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{target.bucket}.{host}"
