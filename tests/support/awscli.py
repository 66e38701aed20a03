"""A stand-in for the two forms of `aws s3 cp` that RESTORE.md uses, where the real program cannot be had.

It takes nothing else, and finds credentials where the real one does: in the environment.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import boto3
from botocore.config import Config


def install(folder: Path) -> Path:
    """Write a program `aws` into a folder for PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "aws"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={Path(__file__).parents[1]} exec {sys.executable} -m support.awscli "$@"\n'
    )
    program.chmod(0o755)
    return folder


def main(argv: list[str]) -> None:
    """`s3 cp --endpoint-url URL [--recursive] --only-show-errors s3://bucket/key TARGET`."""
    parser = argparse.ArgumentParser(prog="aws")
    parser.add_argument("service", choices=["s3"])
    parser.add_argument("verb", choices=["cp"])
    parser.add_argument("--endpoint-url", required=True)
    parser.add_argument("--recursive", action="store_true")
    parser.add_argument("--only-show-errors", action="store_true", required=True)
    parser.add_argument("source")
    parser.add_argument("target")
    wanted = parser.parse_args(argv)
    scheme, _, path = wanted.source.partition("s3://")
    assert not scheme, wanted.source
    bucket, _, key = path.partition("/")
    client = boto3.client("s3", endpoint_url=wanted.endpoint_url, config=Config(s3={"addressing_style": "path"}))
    target = Path(wanted.target)
    if not wanted.recursive:
        client.download_file(bucket, key, str(target / key.rpartition("/")[2] if target.is_dir() else target))
        return
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
    for one in (one["Key"] for page in pages for one in page.get("Contents", ())):
        place = target / one.removeprefix(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(bucket, one, str(place))


if __name__ == "__main__":
    main(sys.argv[1:])
