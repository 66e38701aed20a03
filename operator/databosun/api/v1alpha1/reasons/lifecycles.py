"""Reasons of lifecycles of rows and objects, and of erasures."""

from __future__ import annotations

from databosun.api.v1alpha1.reasons.entry import Entry


class LifecycleReasons:
    """Reasons of lifecycles of rows and objects, and of erasures."""

    # Lifecycles.
    LIFECYCLE_POLICY_NOT_FOUND = Entry("LifecyclePolicyNotFound", "Create the LifecyclePolicy, or correct policyRef.")
    APPROVED = Entry("Approved", "Nothing: an Approval names the plan, until the instant in the message.")
    NO_PLAN = Entry("NoPlan", "Nothing, or start a dry run: the plan is not known until one has looked.")
    PLAN_GREW = Entry(
        "PlanGrew", "See whether the rule is right: it matches more than maxPercent; raise that if it is."
    )
    PLAN_CLEAN = Entry("PlanClean", "Nothing: every rule may run.")
    DRY_RUN_ONLY = Entry(
        "DryRunOnly", "Set spec.mode of the LifecyclePolicy to Enforce, if its plan is to be carried out."
    )
    RULES_REFUSED = Entry("RulesRefused", "See status.plan: it says of every rule why it may not run.")
    RULES_FAILED = Entry("RulesFailed", "See status.rules: it says of every rule what stopped it; the others ran.")
    BLOCKED_BY_HOLD = Entry("BlockedByHold", "Nothing, or take the hold out of spec.holds once it is over.")
    BACKUP_TOO_OLD = Entry("BackupTooOld", "See why no backup succeeded of late; nothing is deleted without one.")
    FALLING_BEHIND = Entry(
        "FallingBehind",
        "Give the runs more time or rows (timeBudget, maxRowsPerRun), run them more often, or use partitions.",
    )
    KEEPING_UP = Entry("KeepingUp", "Nothing: at least as many rows go as become eligible.")
    LIFECYCLE_DONE = Entry("LifecycleDone", "Nothing: the run did what the plan says, and its audit is in the store.")
    LOOKED = Entry("Looked", "Look at status.plan: it says what the rules would do.")
    RULE_NOT_READABLE = Entry(
        "RuleNotReadable", "Correct the rule's or the hold's condition; the message has the server's words."
    )
    TABLE_NOT_FOUND = Entry("TableNotFound", "Correct target.table of the rule, or grant the login to see the table.")
    COLUMN_NOT_FOUND = Entry("ColumnNotFound", "Correct the column that the message names.")
    NOT_A_TABLE = Entry("NotATable", "Name the table that the rows lie in.")
    ROWS_HIDDEN = Entry("RowsHidden", "Run ALTER ROLE … BYPASSRLS: the rule could not see all rows otherwise.")
    NO_PRIMARY_KEY = Entry("NoPrimaryKey", "Give the table a primary key: rows are taken by it.")
    NO_AGE = Entry("NoAge", "Name a column with a date or an instant in match.column.")
    NOT_SOFT_DELETED = Entry(
        "NotSoftDeleted", "Name the column that is empty in live rows and says when one was deleted."
    )
    FOREIGN_KEY_CYCLE = Entry("ForeignKeyCycle", "Delete such rows by hand, or change the foreign key.")
    FOREIGN_KEY_REFUSES = Entry("ForeignKeyRefuses", "Set foreignKeys to ChildrenFirst, or remove the rows that refer.")
    CASCADE_NOT_ALLOWED = Entry(
        "CascadeNotAllowed", "List the table in allow.cascades of the rule, if its rows may go along."
    )
    TRIGGER_NOT_ALLOWED = Entry("TriggerNotAllowed", "List the trigger in allow.triggers of the rule, if it may fire.")
    NO_MARK_COLUMN = Entry("NoMarkColumn", "Add the column that the message names, empty, of type timestamptz.")
    KEY_NOT_MASKABLE = Entry("KeyNotMaskable", "Leave the column out: keys and computed columns cannot be overwritten.")
    MASK_DOES_NOT_FIT = Entry("MaskDoesNotFit", "Use another method for the column.")
    TOO_MANY_CALLS = Entry("TooManyCalls", "Write the condition on columns, so that people can see what it comes to.")
    ACTION_UNSUPPORTED = Entry("ActionUnsupported", "Use an action that the message lists: the engine has no other.")
    IDLE_TIME_UNKNOWN = Entry(
        "IdleTimeUnknown",
        "See the message: list the Sentinels among the hosts, wait until this master is one for long enough, or use no"
        " LFU policy; or say Expire instead.",
    )
    INDEX_CLASH = Entry("IndexClash", "See the message: another index is in the way of the one that deletes by age.")
    ARCHIVE_UNSUPPORTED = Entry(
        "ArchiveUnsupported", "Use Delete: what lies there cannot be compared with what was archived."
    )
    CONDITION_REFUSED = Entry(
        "ConditionRefused",
        "Write one expression on the table's own columns: no semicolon, variable or SQL in a comment; texts in quotes."
        " Of MongoDB one filter in Extended JSON, without operators that run something.",
    )
    VOLATILE_CONDITION = Entry("VolatileCondition", "Write a condition that answers the same each time: no random().")

    # Objects that move to other classes of storage.
    TRANSITION_CONFLICT = Entry(
        "TransitionConflict",
        "See the message's arithmetic: leave the step out, make it later, or change the policy or drill that it names.",
    )
    TRANSITION_UNSUPPORTED = Entry(
        "TransitionUnsupported",
        "Use a BackupStorage with a bucket, and backups that lie in it: a folder and a cloud's snapshots do not move.",
    )
    BUCKET_RULE_CONFLICT = Entry(
        "BucketRuleConflict",
        "Change the bucket's rule that the message names: it deletes or moves what is Databosun's, or bears its ID.",
    )
    BUCKET_RULES_DIFFER = Entry(
        "BucketRulesDiffer",
        "Compare the bucket's lifecycle rules with those in the run's audit, and put right what others lost.",
    )
    TAG_REFUSED = Entry("TagRefused", "See the message: the store does not keep tags, or the object has ten of others.")
    OBJECT_ARCHIVED = Entry(
        "ObjectArchived",
        "Say spec.thaw in the Restore, or take a newer backup: objects of this one lie in an archive class.",
    )

    # Erasures.
    ERASED = Entry("Erased", "Nothing: no row with the subject is left; the receipt is in the store.")
    ERASURE_PLANNED = Entry(
        "ErasurePlanned", "Look at status.plan; if it is right: kubectl bosun approve --erasure NAME."
    )
    ERASURE_FAILED = Entry(
        "ErasureFailed", "See the message: what was committed stays done; make another request to go on."
    )
    ERASURE_REFUSED = Entry("ErasureRefused", "Put right what the message names, and make another request.")
    ERASURE_KEY_MISSING = Entry(
        "ErasureKeyMissing",
        "Give the BackupStorage its spec.erasure.keySecretRef, and the Secret the key of then. A Restore goes without"
        " by spec.erasures: Skip, and then holds who was erased since.",
    )
    ERASURE_KEY_WRONG = Entry(
        "ErasureKeyWrong",
        "Put the key back into the Secret that erasures were hashed with: with another nobody is found again.",
    )
    ERASURE_KEY_WEAK = Entry(
        "ErasureKeyWeak", "Use a key of at least 32 random bytes, such as of openssl rand -hex 32."
    )
    ERASURE_UNKNOWN = Entry(
        "ErasureUnknown",
        "Bring the entries that the message names back into the store: the ledger lost them, or it is another's.",
    )
    ERASURE_NOT_REPEATABLE = Entry(
        "ErasureNotRepeatable",
        "See the message for the rule that does not fit the restored data; restore another backup, or set"
        " spec.erasures: Skip and erase by hand.",
    )
    BACKUPS_ELSEWHERE = Entry(
        "BackupsElsewhere",
        "Let the backups that the message names expire or delete them: the ledger of erasures lies in one storage.",
    )
    SUBJECT_STAYS = Entry(
        "SubjectStays", "List the column that holds the subject's key among those that are overwritten."
    )
    SUBJECT_DOES_NOT_FIT = Entry(
        "SubjectDoesNotFit", "Write the subject's key as the server writes it, or correct the column."
    )
    SUBJECT_LEFT = Entry(
        "SubjectLeft", "Find out who writes rows of the subject, and make another request: some were there at the end."
    )
    STORES_SEARCHED = Entry("StoresSearched", "Nothing: every store was looked through; see status.remains.")
    SEARCHING = Entry("Searching", "Nothing yet: a store is being looked through for copies that hold the person.")
    STORE_NOT_SEARCHED = Entry(
        "StoreNotSearched",
        "Put right what the message names, so that the store can be looked through: until then nobody can say that no"
        " copy in it holds the person.",
    )
    STORE_GONE = Entry(
        "StoreGone",
        "Bring back a BackupStorage for the place that the message names: copies that hold the person lay there when it"
        " was last looked through, or it never was.",
    )
    EXPORTED = Entry(
        "Exported", "Nothing: status.folder has the person's rows until status.expiresTime; hand them over."
    )
    NOT_PARTITIONED = Entry(
        "NotPartitioned", "Use Delete or Archive: DropPartition needs partitions by range of the column."
    )
