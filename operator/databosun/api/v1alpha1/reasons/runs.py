"""Reasons of specs, schedules and runs, and of how protected a database is."""

from __future__ import annotations

from databosun.api.v1alpha1.reasons.entry import Entry


class RunReasons:
    """Reasons of specs, schedules and runs, and of how protected a database is."""

    # All is well, or goes its way.
    READY = Entry("Ready", "Nothing: all is as the spec asks.")
    SUCCEEDED = Entry("Succeeded", "Nothing: the run did what was asked, and its result was checked.")
    PENDING = Entry("Pending", "Nothing: the run has not started yet; the message says what it waits for.")
    RUNNING = Entry("Running", "Nothing: status.progress says how far it is.")
    RETRYING = Entry("Retrying", "Nothing yet: the last attempt failed in a way that may pass, another one follows.")
    SUSPENDED = Entry("Suspended", "Nothing, or set spec.suspend to false to let new runs start.")
    CONNECTED = Entry("Connected", "Nothing: the database answered.")
    VALIDATED = Entry("Validated", "Nothing: the store did all that backups need.")
    PROBING = Entry("Probing", "Nothing: the database is being looked at.")
    VALIDATING = Entry("Validating", "Nothing: the store is being tried.")
    ON_SCHEDULE = Entry("OnSchedule", "Nothing: every slot was answered in time.")
    NO_RUN = Entry("NoRun", "Nothing: no run has finished yet.")
    RECENT_BACKUP = Entry("RecentBackup", "Nothing: the newest backup is recent enough.")
    WITHIN_OBJECTIVE = Entry("WithinObjective", "Nothing: the recovery objective is met.")
    ALREADY_DONE = Entry(
        "AlreadyDone", "Nothing: the run's result was in the store already; it was read, not repeated."
    )
    BACKUP_SUCCEEDED = Entry("BackupSucceeded", "Nothing: a backup was taken and checked.")

    # Spec and references.
    INVALID_SPEC = Entry("InvalidSpec", "Correct the field that the message names; the API server could not refuse it.")
    CONFLICT = Entry(
        "Conflict", "Two objects claim the same thing; change or delete one of the two that the message names."
    )
    DATABASE_NOT_FOUND = Entry("DatabaseNotFound", "Create the Database, or correct databaseRef or databaseSelector.")
    DATABASE_REPLACED = Entry(
        "DatabaseReplaced", "The Database was created anew since; start another run for the new one."
    )
    DATABASE_NOT_PROBED = Entry("DatabaseNotProbed", "Wait: the database is looked at before its first backup.")
    POLICY_NOT_FOUND = Entry("PolicyNotFound", "Create the BackupPolicy, or correct policyRef.")
    STORAGE_NOT_FOUND = Entry("StorageNotFound", "Create the BackupStorage, or correct storageRef.")
    STORAGE_NOT_READY = Entry("StorageNotReady", "See the conditions of the BackupStorage that the message names.")
    SECRET_MISSING = Entry("SecretMissing", "Create the Secret, or the key in it, that the message names.")
    NO_RUNNER_IMAGE = Entry("NoRunnerImage", "Set spec.runner.image of the Database, or runners.images of the chart.")
    BAD_SETTINGS = Entry("BadSettings", "Correct the operator's setting that the message names (values of the chart).")
    REQUEST_TOO_LARGE = Entry("RequestTooLarge", "Shorten what the message names: hooks, or a list of names.")

    # How protected a database is.
    NO_POLICY = Entry("NoPolicy", "Apply a BackupPolicy that names this Database or selects its labels.")
    NO_SCHEDULE = Entry(
        "NoSchedule", "Give the policy a preset or schedules; the message says why it has none in force."
    )
    NO_BACKUP = Entry("NoBackup", "See the Backups of this Database: none has succeeded yet.")
    OVERDUE = Entry("Overdue", "See the newest Backups of this Database: no success for two intervals of its schedule.")
    RUNS_FAILING = Entry("RunsFailing", "See the newest Backups of the databases that the message names.")
    RECOVERY_POINT_TOO_OLD = Entry(
        "RecoveryPointTooOld", "See why backups or logs lag behind; a disaster now would cost more."
    )
    OBJECTIVE_UNREACHABLE = Entry(
        "ObjectiveUnreachable", "Back up more often, ship logs, or relax the objective (arithmetic given)."
    )
    NEVER_PROVEN = Entry(
        "NeverProven", "Let a RestoreDrill restore a backup; until then nobody knows that it can be done."
    )
    UNVERIFIED = Entry(
        "Unverified", "The backup was found in the store, unsigned; sign manifests to tell forged ones apart."
    )
    SIZE_FELL = Entry(
        "SizeFell", "Check that the source still holds all data: the backup is far smaller than the one before."
    )

    # Schedules and runs.
    WAITING = Entry("Waiting", "Nothing: another run holds the database or the storage; the message names it.")
    TOO_EARLY = Entry("TooEarly", "Nothing: the run may not start before the instant that was asked for.")
    TOO_LATE = Entry("TooLate", "Create the run anew with a later notAfter if it is still wanted.")
    DEADLINE_EXCEEDED = Entry("DeadlineExceeded", "Raise spec.deadline, or find out from the log what took so long.")
    START_DEADLINE_EXCEEDED = Entry(
        "StartDeadlineExceeded", "See the message: no node fits, the image cannot be pulled, a volume hangs."
    )
    NEVER_STARTED = Entry(
        "NeverStarted", "See the message for what it waited for; start another run when that is mended."
    )
    NOT_STARTED = Entry("NotStarted", "Nothing: an object restored or re-applied after its time is not run again.")
    JOB_LOST = Entry("JobLost", "Find out who deletes Jobs in this namespace; the run is tried again.")
    JOB_FAILED = Entry("JobFailed", "See the message of the Job; the run is tried again.")
    ATTEMPT_TAKEN = Entry(
        "AttemptTaken", "Nothing: an agent wrote into this attempt's folder before; the next attempt has its own."
    )
    POD_REFUSED = Entry("PodRefused", "Correct what the API server or an admission policy refuses in the pod.")
    INVALID_IMAGE_NAME = Entry("InvalidImageName", "Correct the runner image's name.")
    ERR_IMAGE_NEVER_PULL = Entry("ErrImageNeverPull", "Bring the image to the node, or allow it to be pulled.")
    DISRUPTED = Entry("Disrupted", "Nothing: the pod was evicted, preempted or deleted; the run is tried again.")
    UNRESPONSIVE = Entry(
        "Unresponsive", "Look at the node: the agent did not report by its deadline; the run is tried again."
    )
    OUT_OF_MEMORY = Entry("OutOfMemory", "Raise podTemplate.resources.limits.memory.")
    NO_RESULT = Entry("NoResult", "See the log of the pod: it ended without a word; the run is tried again.")
    RESULT_UNREADABLE = Entry("ResultUnreadable", "Nothing: the result is read from the store instead.")
    INTERRUPTED = Entry("Interrupted", "Nothing: the agent was told to stop and cleaned up; the run is tried again.")
    ABORTED = Entry("Aborted", "See the first failure in the log; this is what followed from it.")
    BAD_REQUEST = Entry(
        "BadRequest", "Operator and agent are of different versions: set runner images of the same release."
    )
    INTERNAL_ERROR = Entry("InternalError", "Report it with the log: this is a fault of Databosun.")
    FAILED = Entry("Failed", "See the message.")

    # Scratch, tools, hooks.
    SCRATCH_TOO_SMALL = Entry("ScratchTooSmall", "Raise podTemplate.scratch.size to what the message asks for.")
    SCRATCH_FULL = Entry("ScratchFull", "Raise podTemplate.scratch.size.")
    TOOL_MISSING = Entry("ToolMissing", "Use a runner image that has the program named.")
    TOOL_FAILED = Entry("ToolFailed", "See the message for the program's own words; the run is tried again.")
    TOOL_KILLED = Entry("ToolKilled", "See the node's log for what killed it (memory?); the run is tried again.")
    WRONG_TOOL_VERSION = Entry("WrongToolVersion", "Use the runner image of the server's own major version.")
    SYSTEM_ERROR = Entry("SystemError", "See the message: the pod's file system or kernel refused something.")
    HOOK_FAILED = Entry("HookFailed", "Correct the hook that the message names, or set its onError to Continue.")
    HOOK_TIMEOUT = Entry("HookTimeout", "Raise the hook's timeout, or find out what it waits for.")
