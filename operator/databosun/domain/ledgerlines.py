"""The ledger as text: one JSON document a line, so that anybody can count it anew with what is at hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from databosun.domain.ledger import Claim, Fate, History, ReadBack

_COMPACT = (",", ":")


def ledger_lines(history: History, read_backs: Sequence[ReadBack], sightings: Iterable[Claim] = ()) -> Iterator[str]:
    """Every write, then who said that it takes writes, then what was read back, as ranges of numbers."""
    for one in history:
        named = {
            "client": one.client,
            "seq": one.seq,
            "sent": round(one.sent, 6),
            "ended": None if one.ended is None else round(one.ended, 6),
            "fate": one.fate,
            "node": one.node,
            "error": one.error,
        }
        yield _line({"write": {name: value for name, value in named.items() if value is not None}})
    for claim in sightings:
        yield _line({"takesWrites": {"node": claim.node, "from": round(claim.began, 6), "to": round(claim.ended, 6)}})
    for back in read_backs:
        present = {name: ranges(seqs) for name, seqs in sorted(back.present.items())}
        yield _line({"readBack": {"began": round(back.began, 6), "present": present}})


def parse_ledger(lines: Iterable[str]) -> tuple[History, list[ReadBack], list[Claim]]:
    """What was written. ValueError where it is no ledger."""
    history, backs, claims = History(), list[ReadBack](), list[Claim]()
    for line in lines:
        document = json.loads(line)
        if one := document.get("write"):
            client = history.client(one["client"])
            if client.send(one["sent"]) != one["seq"]:
                msg = f"write {one['seq']} of client {one['client']} is not the next one"
                raise ValueError(msg)
            if "ended" in one:
                client.end(one["ended"], Fate(one["fate"]), node=one.get("node"), error=one.get("error"))
        elif one := document.get("takesWrites"):
            claims.append(Claim(one["node"], one["from"], one["to"]))
        elif one := document.get("readBack"):
            present = {name: _numbers(found) for name, found in one["present"].items()}
            backs.append(ReadBack(one["began"], present))
        else:
            msg = f"no line of a ledger: {line[:80]}"
            raise ValueError(msg)
    return history, backs, claims


def ranges(seqs: Iterable[int]) -> list[list[int]]:
    """Numbers as `[first, last]`, in order."""
    found: list[list[int]] = []
    for seq in sorted(set(seqs)):
        if found and found[-1][1] == seq - 1:
            found[-1][1] = seq
        else:
            found.append([seq, seq])
    return found


def _numbers(found: Iterable[Sequence[int]]) -> frozenset[int]:
    return frozenset(seq for first, last in found for seq in range(first, last + 1))


def _line(document: object) -> str:
    return json.dumps(document, separators=_COMPACT) + "\n"
