"""What to do with a restored volume that holds the shards of a cluster, and what each of them starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from databosun.engines.redis.cluster import range_text
from databosun.engines.redis.recovery.facts import Backup
from databosun.engines.redis.recovery.handover import leave

NODES_FILE = "nodes.conf"


def node_id(shard: Backup) -> str:
    """Of the node that the shard becomes: one that no cluster had before, so that none takes it for its own."""
    return hashlib.sha256(f"{shard.id}/{range_text(shard.slots)}".encode()).hexdigest()[:40]


def nodes_conf(shard: Backup, epoch: int) -> str:
    """A cluster of one node, which serves the shard's slots; `epoch`: another for each shard, from 1."""
    slots = range_text(shard.slots).replace(",", " ")
    return (
        f"{node_id(shard)} :0@0 myself,master - 0 0 {epoch} connected {slots}\n"
        f"vars currentEpoch {epoch} lastVoteEpoch 0\n"
    )


def leave_shard(shard: Backup, data: Path, epoch: int) -> None:
    """What a server with `cluster-enabled yes` starts from."""
    leave(shard, data, replayed=False)
    (data / NODES_FILE).write_text(nodes_conf(shard, epoch))


def hand_over_shards(shards: Sequence[Backup], data: str) -> list[str]:
    """Sentences, in order."""
    folders = "; ".join(f"{shard.folder}: slots {range_text(shard.slots)}" for shard in shards[:32])
    first = shards[0]
    return [
        f"The folder {data} holds a folder for each of {len(shards)} shards ({folders}), as {first.label} wrote them, "
        f"with a {NODES_FILE} in each by which a server serves just these slots.",
        "The shards have no common point in time: what was written to two of them at once may be in one alone.",
        "Start one master for each folder: its `dir` is the folder (or a volume with what is in it), with "
        f"`cluster-enabled yes` and `cluster-config-file {NODES_FILE}`; give the files to the uid of the server.",
        "Join them: on the first, `CLUSTER MEET <address> <port>` for each other one, until `CLUSTER INFO` of all says "
        "cluster_state:ok and cluster_slots_ok:16384.",
        "Then give each master its replicas: empty servers, `CLUSTER MEET`, and on each `CLUSTER REPLICATE <id of its "
        "master>` (`CLUSTER MYID` there).",
        "Never let them meet the nodes of the old cluster: both serve the same slots, and one would give way.",
        "With `appendonly yes` a server reads appendonlydir and never dump.rdb: both hold the same data here.",
        "Users and passwords are not in a backup: they are in users.acl or the configuration.",
        "Take a full backup at once.",
    ]
