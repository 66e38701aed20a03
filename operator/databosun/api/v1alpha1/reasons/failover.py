"""Reasons of failover tests."""

from __future__ import annotations

from databosun.api.v1alpha1.reasons.entry import Entry


class FailoverReasons:
    """Reasons of failover tests."""

    FAILOVER_PLANNED = Entry(
        "FailoverPlanned", "Look at status.plan; approve it (kubectl bosun approve --failover) if asked."
    )
    AWAITING_APPROVAL = Entry(
        "AwaitingApproval",
        "Look at status.plan; if it is right, approve it: kubectl bosun approve NAME, with --failover,"
        " --lifecycle or --erasure.",
    )
    OUTSIDE_WINDOW = Entry(
        "OutsideWindow",
        "Nothing: the run waits for a window, which the message names. The waitFor of a failover test must reach it.",
    )
    COOLDOWN = Entry("Cooldown", "Nothing: it waits until spec.cooldown is over since the primary was moved last.")
    NOT_APPROVED = Entry(
        "NotApproved", "Nothing, or start another one: nobody approved the plan in time; nothing was done."
    )
    PRIMARY_ENDED = Entry(
        "PrimaryEnded", "Nothing: a forced failover has the primary's pod deleted, and waits for another."
    )
    FAULT_DONE = Entry(
        "FaultDone", "Nothing: a fault was done to the primary's pod, as the plan has it; who writes is looked at."
    )
    GUARD_FAILED = Entry("GuardFailed", "Put right what the message names; nothing was moved.")
    NO_CANDIDATE = Entry("NoCandidate", "See the message and status.topologyBefore for why no replica could take over.")
    PLAN_CHANGED = Entry(
        "PlanChanged",
        "Look at the new plan: what was found is not what was approved; nothing was done. Approve it if it is right.",
    )
    SETTLING = Entry("Settling", "Nothing yet: what a switch may have left behind is being put in order.")
    NOT_SETTLED = Entry(
        "NotSettled", "Act now: look at the database. The message says what a test may have left behind."
    )
    TEST_NOT_FOUND = Entry(
        "TestNotFound", "Create the FailoverTest, or correct testRef; databaseRef must be the test's own."
    )
    NO_PROVIDER = Entry("NoProvider", "Say in Database.spec.replication what decides over the primary.")
    PROVIDER_UNSUPPORTED = Entry(
        "ProviderUnsupported", "Test it by hand: this release switches by the providers named only."
    )
    WRITES_LOST = Entry(
        "WritesLost", "Make replication synchronous or agree on a loss; keep the ledger: it says which writes are gone."
    )
    SPLIT_BRAIN = Entry(
        "SplitBrain", "Act now: two nodes took writes at once. Fence the old primary, then compare the two."
    )
    DOWNTIME_EXCEEDED = Entry(
        "DowntimeExceeded", "See the timeline for what it waited for, or agree on another objective."
    )
    NOT_REJOINED = Entry(
        "NotRejoined", "Act now: the old primary does not follow the new one; until it does nothing may fail."
    )
    SWITCH_FAILED = Entry("SwitchFailed", "See the message for what the provider said, and who is primary now.")
    NO_BASELINE = Entry(
        "NoBaseline", "Let the writers write: see what they were told, in status.clients and the evidence."
    )
    NOT_READ_BACK = Entry(
        "NotReadBack", "Test again: not all writes could be looked for afterwards, so nothing is proven."
    )
    PROBE_STALLED = Entry("ProbeStalled", "Give the test's pod more CPU (podTemplate.resources), and test again.")
    WINDOW_CLOSED = Entry(
        "WindowClosed", "Start another test: its window, its consent or its plan was over; nothing was moved."
    )
    SETTLED = Entry("Settled", "See the run: its agent was lost, and what it may have left was put in order.")
    MODE_UNSUPPORTED = Entry("ModeUnsupported", "Set spec.mode to one that the message names.")
    FAILBACK_UNSUPPORTED = Entry(
        "FailbackUnsupported", "Set spec.failback to Never, and move the primary back by hand."
    )
    PROVIDER_UNREACHABLE = Entry("ProviderUnreachable", "See why Database.spec.replication.endpoints do not answer.")
    PROVIDER_REFUSED = Entry("ProviderRefused", "See the message for the provider's own words.")
    TOPOLOGY_CHANGED = Entry("TopologyChanged", "Start another test once the nodes are at rest; nothing was moved.")
    NOT_ENDED = Entry("NotEnded", "See the message for why the operator did nothing to the primary; nothing was moved.")
    NOT_ANSWERED = Entry("NotAnswered", "See why the operator did not answer its agent, and who is primary now.")
    FAULT_UNSEEN = Entry("FaultUnseen", "See that the fault is done to the database's own container, and test again.")
    NOT_CAUGHT_UP = Entry("NotCaughtUp", "Find out why the candidate lags, and test again; nothing was moved.")
    FAILOVER_PASSED = Entry("FailoverPassed", "Nothing: the database failed over within the objectives.")
    FAILOVER_FAILED = Entry(
        "FailoverFailed",
        "See status.result and the evidence of the run: what was lost, how long no write was taken, and why.",
    )
    FAILOVER_REFUSED = Entry("FailoverRefused", "Put right what the message names; nothing was moved.")
    FAILOVER_ABORTED = Entry("FailoverAborted", "See the message: the test was given up on the way, and put in order.")
    FAILOVER_INCONCLUSIVE = Entry(
        "FailoverInconclusive", "See the message: what was measured proves neither; test again."
    )
    TEST_FAILING = Entry(
        "TestFailing", "See the run that the message names: the database does not fail over as it should."
    )
