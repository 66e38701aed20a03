"""A stand-in for what RESTORE.md uses of `aws`, where the real program cannot be had: two forms of `s3 cp`, and `rds`.

It takes nothing else, and finds credentials, region and endpoints where the real one does: in the environment. Options
of `rds` become parameters of the API by their names alone, and botocore refuses those that the API does not know.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import boto3
import jmespath
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
    """By service."""
    if argv[0] == "rds":
        rds(argv[1:])
    else:
        s3(argv)


def rds(argv: list[str]) -> None:
    """`rds [wait] ACTION --option [value…] [--query JMESPATH] [--output text]`."""
    client = boto3.client("rds", endpoint_url=os.environ.get("AWS_ENDPOINT_URL_RDS"))
    words, options = _read(argv)
    query, output = options.pop("Query", None), options.pop("Output", "json")
    if words[0] == "wait":
        client.get_waiter(words[1].replace("-", "_")).wait(**options)
        return
    (action,) = words
    answer = getattr(client, action.replace("-", "_"))(**options)
    found = jmespath.search(query, answer) if query else answer
    assert output in ("json", "text"), output
    print("\t".join(map(str, found)) if output == "text" else found)


def _read(argv: list[str]) -> tuple[list[str], dict[str, Any]]:
    words: list[str] = []
    given: dict[str, list[str]] = {}
    name = None
    for one in argv:
        if one.startswith("--"):
            name = "".join("DB" if part == "db" else part.capitalize() for part in one[2:].split("-"))
            given[name] = []
        elif name is None:
            words.append(one)
        else:
            given[name].append(one)
    return words, {key: values if key.endswith("Ids") else " ".join(values) for key, values in given.items()}


def s3(argv: list[str]) -> None:
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
