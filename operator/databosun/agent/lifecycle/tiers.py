"""Have the bucket move the objects of old backups: our rules merged into its own, then tags set on whole chains.

The rules come first, and are read back: where the server returns anything else than was meant, nothing is tagged. A tag
is set only on objects that hold a backup's data; what is read at each look (manifests, holds, the owner marker, the
log, records) never has one, and so never moves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from databosun.agent.context import Context
from databosun.agent.lifecycle.ledger import Event, Ledger
from databosun.agent.reasons import AgentReason
from databosun.agent.tasks.common import read_hold
from databosun.api.lifecycle import RuleCounts, RuleFacts, RuleOrder
from databosun.api.lifecycleresult import RuleState
from databosun.api.lifecycletasks import LifecycleTask
from databosun.api.quantities import humanize_bytes
from databosun.api.tiering import BucketFacts, Conflict
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.bucketrules import TAG, Owner, conflicts, differences, merge, render, text_of
from databosun.domain.errors import SafetyStop, UserFault
from databosun.domain.tiering import Move, StoredBackup, StoredObject, Tiering, archived_until, coldness, decide_tiering
from databosun.storage.locks import AT_ONCE
from databosun.storage.manifest import MAX_MANIFEST_BYTES, Manifest, read_manifest
from databosun.storage.names import is_name
from databosun.storage.port import ObjectMissing
from databosun.storage.tiering import BucketRules, Tiered

MOST_TAGS = 10  # of one object: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
SHOWN = 32


@dataclass
class Tiers:
    """The one rule of a policy on one bucket."""

    ctx: Context
    task: LifecycleTask
    store: Tiered
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, ctx: Context, task: LifecycleTask) -> Tiers:
        """UserFault where the store has no classes of storage."""
        if ctx.store.tiered is None:
            message = f"{ctx.store.describe()} has no classes of storage; StorageTransition needs a bucket"
            raise UserFault(AgentReason.BAD_REQUEST, message)
        return cls(ctx, task, ctx.store.tiered)

    @property
    def rule(self) -> RuleOrder:
        """The rule: it stands alone."""
        return self.task.order.rules[0]

    @property
    def owner(self) -> Owner:
        """Whose rules of the bucket are exchanged."""
        storage, folder = self.ctx.storage, self.ctx.layout.backups(self.ctx.database.name)
        return Owner(storage.cluster_id, storage.namespace, self.task.policy, f"{folder}/")

    def look(self) -> RuleFacts:
        """What would go, and what stands against it."""
        try:
            return self._look()
        except (SafetyStop, UserFault) as fault:
            return RuleFacts(rule=self.rule.name, fault=f"{fault.reason}: {fault.message}")

    def _look(self) -> RuleFacts:
        rules, scope = self.store.bucket_rules(), self.task.tiering
        backups = self._backups()
        tiering = self._decide(backups)
        going = archived_until(backups, tiering.due, [*tiering.moves])
        against = [*self._unreadable(rules), *conflicts(rules.rules, self.owner, self.ctx.layout.root, scope.kept)]
        due = [one for move in tiering.moves for one in move.backups]
        counts = RuleCounts(
            rows=len(backups),
            eligible=len(due),
            held=sum(one.held for one in backups),
            oldest=min((one.at for one in due), default=None),
            newest=max((one.at for one in due), default=None),
            bytes=sum(one.bytes for move in tiering.moves for one in move.objects),
        )
        bucket = BucketFacts(
            place=self.ctx.store.describe(),
            prefix=self.owner.prefix,
            archived_until=going,
            foreign_rules=sum(not str(one.get("ID", "")).startswith(self.owner.ids) for one in rules.rules),
            conflicts=against[:16],
            moves=[_said(move) for move in tiering.moves[:SHOWN]],
            stays=list(tiering.stays[:SHOWN]),
        )
        return RuleFacts(rule=self.rule.name, counts=counts, bucket=bucket, conflicts=scope.conflicts)

    # --- what is there

    def _decide(self, backups: Iterable[StoredBackup]) -> Tiering:
        """What is due and not tagged for it yet."""
        found = decide_tiering(self.rule.transitions, list(backups), self.task.tiering.keep, self.task.at)
        return Tiering(tuple(one for one in found.moves if self._untagged(one)), found.stays, found.moves)

    def _untagged(self, move: Move) -> tuple[StoredObject, ...]:
        self.ctx.stop.check()
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tags") as pool:
            tags = list(pool.map(lambda one: self.store.tags(one.key).get(TAG, ""), move.objects))
        wanted = coldness(move.storage_class)
        return tuple(one for one, tag in zip(move.objects, tags, strict=True) if coldness(tag) < wanted)

    def _backups(self) -> list[StoredBackup]:
        """Every backup of the database. SafetyStop where a manifest cannot be read: it may stand on what is to go."""
        ctx, folder = self.ctx, self.ctx.layout.backups(self.ctx.database.name)
        manifests = [one for name in ctx.store.folders(folder) if is_name(name) and (one := self._manifest(name))]
        classes = self.store.classes(folder)  # afterwards: of what a manifest lists nothing is still to come
        return [self._backup(one, classes) for one in manifests]

    def _manifest(self, backup_id: str) -> Manifest | None:
        self.ctx.stop.check()
        key = self.ctx.layout.backup(self.ctx.database.name, backup_id).manifest
        try:
            data = self.ctx.store.get(key, limit=MAX_MANIFEST_BYTES)
        except ObjectMissing:
            return None  # one that is being taken, or garbage
        return read_manifest(data, f"{key} in {self.ctx.store.describe()}")

    def _backup(self, manifest: Manifest, classes: Mapping[str, str]) -> StoredBackup:
        backup_id = manifest.id
        folder = self.ctx.layout.backup(self.ctx.database.name, backup_id)
        keys = [(folder.stored(manifest.attempt, name), size) for name, size in _data_of(manifest)]
        if (gone := next((key for key, _ in keys if key not in classes), None)) is not None:
            message = f"{gone}, which the manifest of {backup_id} lists, is not there; nothing is moved around a hole"
            raise SafetyStop(AgentReason.ARTEFACT_MISSING, message)
        return StoredBackup(
            id=backup_id,
            at=manifest.completed_at,
            line=(manifest.policy or "", str(manifest.method)),
            stands_on=tuple({one for one in (manifest.parent, manifest.base) if one and one != backup_id}),
            held=read_hold(self.ctx, folder) is not None,
            objects=tuple(StoredObject(key, size, classes[key]) for key, size in keys),
        )

    @staticmethod
    def _unreadable(rules: BucketRules) -> list[Conflict]:
        if not rules.unknown:
            return []
        message = (
            f"the bucket's lifecycle rules have {', '.join(rules.unknown)}, which this release does not know and would"
            " lose; take a newer one, or set the rules by hand"
        )
        return [Conflict(reason=Reason.BUCKET_RULE_CONFLICT, message=message)]

    # --- what is done

    def carry_out(self, ledger: Ledger) -> dict[str, object]:
        """What becomes of the outcome: how it ended, and the IDs of our rules as the server returned them."""
        ids, backups = self._have_rules(ledger), self._backups()
        tiering = self._decide(backups)
        moves = list(tiering.moves)
        stop_at = self.task.stop_at
        while moves:
            self.ctx.stop.check()
            if stop_at is not None and self.ctx.clock() >= stop_at:
                break
            self._tag(moves.pop(0), ledger)
        left = sum(len(one.backups) for one in moves)
        return {
            "state": RuleState.LIMITED if left else RuleState.COMPLETED,
            "remaining": left,
            "bucket_rules": list(ids),
            "archived_until": archived_until(backups, tiering.due, moves),
        }

    def _have_rules(self, ledger: Ledger) -> tuple[str, ...]:
        """Read, merge, write, verify. The audit holds all rules as they were, for whoever must put them back."""
        before, owner = self.store.bucket_rules(), self.owner
        against = [
            *self._unreadable(before),
            *conflicts(before.rules, owner, self.ctx.layout.root, self.task.tiering.kept),
        ]
        if against:
            raise SafetyStop(against[0].reason, against[0].message)
        wanted = render(owner, self.rule.transitions)
        merged = merge(before.rules, wanted, owner)
        if merged.changed:
            rules = {"before": _plain(before.rules), "after": _plain(merged.rules), "minimumSize": before.minimum_size}
            granted = ledger.write(self.rule.name, Event.GRANTED, rows=0, bucketRules=rules)
            self._demand_same(before)
            self.store.put_bucket_rules(merged.rules, before.minimum_size)
            ledger.write(self.rule.name, Event.DONE, of=granted)
        after = self.store.bucket_rules()
        wrong = list(differences(merged.rules, after.rules))
        if after.minimum_size != before.minimum_size and before.rules:
            wrong.append(f"the minimum size of transitions was {before.minimum_size} and is {after.minimum_size}")
        if wrong:
            said = "; ".join(wrong)[:2000]
            message = (
                f"{self.ctx.store.describe()} returns other lifecycle rules than were written: {said}"
                "; nothing was tagged. All rules as they were are in the audit; put right what is wrong by hand"
            )
            raise SafetyStop(Reason.BUCKET_RULES_DIFFER, message)
        return tuple(str(one["ID"]) for one in after.rules if str(one.get("ID", "")).startswith(owner.ids))

    def _demand_same(self, before: BucketRules) -> None:
        """S3 cannot replace rules on a condition: right before it is done, nobody else may be seen to write them."""
        now = self.store.bucket_rules()
        if (now.minimum_size, *map(text_of, now.rules)) != (before.minimum_size, *map(text_of, before.rules)):
            message = (
                f"the lifecycle rules of {self.ctx.store.describe()} changed while they were read"
                f" ({'; '.join(differences(before.rules, now.rules))[:1000]}): somebody else writes them now, whose"
                " change would be lost; nothing was written, run it again"
            )
            raise SafetyStop(Reason.BUCKET_RULE_CONFLICT, message)

    def _tag(self, move: Move, ledger: Ledger) -> None:
        """A chain, children before what they stand on."""
        ids, objects = [one.id for one in move.backups], self._untagged(move)
        told = {"backups": ids, "storageClass": str(move.storage_class)}
        granted = ledger.write(self.rule.name, Event.GRANTED, rows=len(objects), **told)
        self.ctx.log.info("tagging", backups=ids, objects=len(objects), storage_class=str(move.storage_class))
        for backup in move.backups:
            mine = {one.key for one in backup.objects}
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tag") as pool:
                list(pool.map(lambda key: self._tag_one(key, move), [one.key for one in objects if one.key in mine]))
        ledger.write(self.rule.name, Event.DONE, of=granted, moved=len(ids), **told)

    def _tag_one(self, key: str, move: Move) -> None:
        """Beside the tags of others; what the server then returns decides."""
        wanted = {**self.store.tags(key), TAG: str(move.storage_class)}
        if len(wanted) > MOST_TAGS:
            message = f"{key} has {MOST_TAGS} tags of others; there is no room for {TAG}: take one off"
            raise UserFault(Reason.TAG_REFUSED, message)
        self.store.set_tags(key, wanted)
        if (found := self.store.tags(key)) != wanted:
            message = f"{key} was tagged {wanted}, and the server returns {dict(found)}; it may not keep tags"
            raise SafetyStop(Reason.TAG_REFUSED, message)


def _data_of(manifest: Manifest) -> Iterable[tuple[str, int]]:
    """Volumes of data. What an incremental reads of its parent (EngineManifest) stays at hand."""
    return [(part.name, part.bytes) for one in manifest.artefacts if one.role == "Data" for part in one.parts]


def _plain(rules: Iterable[Mapping[str, object]]) -> list[object]:
    return [json.loads(json.dumps(rule, sort_keys=True, default=str)) for rule in rules]


def _said(move: Move) -> str:
    ids = " ".join(sorted(one.id for one in move.backups))
    objects = move.objects
    size = humanize_bytes(sum(one.bytes for one in objects))
    return f"{ids[:300]}: {len(objects)} objects, {size}, to {move.storage_class}"
