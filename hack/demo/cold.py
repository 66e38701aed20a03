"""Old backups move to colder storage: rules are merged into a bucket that another team's stand in, and read back.

SeaweedFS has no classes of storage: the bucket is that of a cloud's stand-in, which keeps rules and moves nothing.
"""

from __future__ import annotations

import json
from typing import Any

from hack.common import Failure, progress
from hack.demo.plans import enforce, run_now
from hack.demo.rds import account
from hack.demo.stage import ROOT, Cluster, back_up, ready, wait

POLICY, BUCKET = "orders-cold", "archives"
_TEAM, _HARM = ("team-logs", "logs/", "30"), ("team-tidy", "", "90")


def scene(cluster: Cluster) -> None:
    """A plan, its approval, the rules as the server returns them; then a rule of others that would delete backups."""
    account(cluster, "bucket", BUCKET)
    account(cluster, "rule", BUCKET, _HARM[0], "", "0")  # of an earlier demo
    account(cluster, "rule", BUCKET, *_TEAM)
    theirs = _rules(cluster)[_TEAM[0]]
    progress(f"bucket {BUCKET} has a rule of another team's: {_told(theirs)}; applying examples/cold/")
    cluster.kubectl("apply", "-f", str(ROOT / "examples/cold"))
    wait("the bucket is validated", lambda: ready(cluster, "bst", "cold"))
    back_up(cluster, "orders-monthly", "a backup for years", "monthly")
    _succeeded(run_now(cluster, POLICY, "the dry run has looked at the bucket"))
    if list(_rules(cluster)) != [_TEAM[0]]:
        raise Failure(f"a dry run changed the bucket's rules: {_rules(cluster)}")
    enforce(cluster, POLICY)
    found = _succeeded(run_now(cluster, POLICY, "the enforced run has written its rules, and read them back"))
    (rule,) = found["rules"]
    after = _rules(cluster)
    if after.get(_TEAM[0]) != theirs or set(after) != {_TEAM[0], *rule["bucketRules"]}:
        raise Failure(f"expected the rule of another team as it was, and {rule['bucketRules']}; found {after}")
    progress("the bucket's rules, as the server returns them; nothing is old enough to be tagged yet:")
    for name, one in after.items():
        print(f"  {name}: {_told(one)}")
    _refused(cluster, after)


def _refused(cluster: Cluster, rules: dict[str, Any]) -> None:
    account(cluster, "rule", BUCKET, *_HARM)
    progress(f"somebody adds a rule that would delete backups: {_told(_rules(cluster)[_HARM[0]])}")
    found = run_now(cluster, POLICY, "the next run has ended")
    said = json.dumps([found.get("failure"), found.get("rules"), found.get("plan")])
    if found["phase"] == "Succeeded" or "BucketRuleConflict" not in said:
        raise Failure(f"expected a run that is refused for that rule; it ended {found['phase']}: {said}")
    account(cluster, "rule", BUCKET, _HARM[0], "", "0")
    if _rules(cluster) != rules:
        raise Failure(f"a refused run changed the bucket's rules: {_rules(cluster)}; expected {rules}")
    progress(f"{found['phase']}, and the rules are as they were: {found.get('failure', {}).get('message', said)}")


def _succeeded(found: dict[str, Any]) -> dict[str, Any]:
    refusals = [one for rule in found.get("plan", {}).get("rules", []) for one in rule.get("refusals", [])]
    if found["phase"] != "Succeeded" or refusals:
        raise Failure(f"the run ended {found['phase']}: {found.get('failure')} {refusals}")
    return found


def _rules(cluster: Cluster) -> dict[str, Any]:
    return {one["ID"]: one for one in json.loads(account(cluster, "rules", BUCKET))}


def _told(rule: dict[str, Any]) -> str:
    """As a person would say it."""
    found = rule["Filter"]
    both = found.get("And", found)
    tags = [f"{one['Key']}={one['Value']}" for one in both.get("Tags", [])]
    does = [f"to {one['StorageClass']} after {one['Days']} d" for one in rule.get("Transitions", [])]
    does += [f"deleted after {rule['Expiration']['Days']} d"] if "Expiration" in rule else []
    return f"what lies below {both.get('Prefix') or '/'}{' with ' if tags else ''}{', '.join(tags)}: {', '.join(does)}"
