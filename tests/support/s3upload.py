"""Standard input to an S3 object in parts: `python -m support.s3upload ENDPOINT BUCKET KEY [CONNECTIONS]`.

The upload of the bare pipelines that benchmarks compare with: the same client library and part size as the agent's, but
no checksums, no read-back, no manifest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import obstore
from obstore.store import S3Store

from support.seaweed import ACCESS_KEY, REGION, SECRET_KEY

PART = 16 * 1024 * 1024


def upload(endpoint: str, bucket: str, key: str, connections: int = 6) -> None:
    """Send all of standard input."""
    store = S3Store(
        bucket,
        endpoint=endpoint,
        region=REGION,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        virtual_hosted_style_request=False,
        unsigned_payload=True,
        client_options={"allow_http": True, "timeout": "10min"},
    )
    obstore.put(store, key, _parts(), use_multipart=True, chunk_size=PART, max_concurrency=connections)


def _parts() -> Iterator[bytes]:
    while data := sys.stdin.buffer.read(PART):
        yield data


if __name__ == "__main__":
    upload(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 6)
