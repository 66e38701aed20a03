"""Logs: one line of JSON a record, with what it is about."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from databosun.runtime.logging import about, configure

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Configured logging; gives what was written."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    configure("info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().split("\n") if line]
    root.handlers[:], level = before
    root.setLevel(level)


def test_a_line_carries_its_event_its_fields_and_the_time(lines: Lines) -> None:
    logging.getLogger("databosun.x").info("job created", extra={"fields": {"job": "orders-1", "attempt": 2}})
    (line,) = lines()
    assert line.pop("ts").endswith("Z")
    assert line == {"level": "info", "logger": "databosun.x", "event": "job created", "job": "orders-1", "attempt": 2}


def test_what_it_is_about_is_said_once_and_the_inner_wins(lines: Lines) -> None:
    logger = logging.getLogger("x")
    with about(kind="Backup", name="a"):
        with about(name="b"):
            logger.info("inside")
        logger.info("between")
    logger.info("outside")
    assert [(line.get("kind"), line.get("name")) for line in lines()] == [
        ("Backup", "b"),
        ("Backup", "a"),
        (None, None),
    ]


async def test_two_tasks_do_not_mix_what_they_are_about(lines: Lines) -> None:
    async def work(name: str) -> None:
        with about(name=name):
            await asyncio.sleep(0)
            logging.getLogger("x").info("worked")

    await asyncio.gather(work("a"), work("b"))
    assert sorted(line["name"] for line in lines()) == ["a", "b"]


def test_a_field_cannot_pass_for_one_of_the_lines_own(lines: Lines) -> None:
    with about(level="fake"):
        logging.getLogger("x").info("real", extra={"fields": {"event": "fake", "ts": 0}})
    (line,) = lines()
    assert (line["level"], line["event"]) == ("info", "real")
    assert (line["field_level"], line["field_event"], line["field_ts"]) == ("fake", "fake", 0)


def test_a_stack_is_one_line_and_odd_values_do_not_break_it(lines: Lines) -> None:
    try:
        raise ValueError("line one\nline two")
    except ValueError:
        logging.getLogger("x").exception("failed", extra={"fields": {"odd": object(), "text": "ä\n\u2028"}})
    (line,) = lines()
    assert "ValueError: line one" in line["stack"]
    assert line["odd"].startswith("<object")
    assert line["text"] == "ä\n\u2028"


def test_libraries_are_quiet_but_not_silent(lines: Lines) -> None:
    logging.getLogger("urllib3.connectionpool").warning("Connection pool is full")
    logging.getLogger("kopf.objects").info("Handler succeeded")
    logging.getLogger("kopf.objects").error("Handler failed")
    assert [line["event"] for line in lines()] == ["Handler failed"]


def test_configuring_twice_prints_once(lines: Lines) -> None:
    stream = io.StringIO()
    configure("warning", stream)
    logging.getLogger("x").info("too low")
    logging.getLogger("x").warning("once")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["once"]
    assert lines() == []
