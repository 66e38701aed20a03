"""What frameworks ask for, and what of a drill report supports an answer. A report never makes anybody compliant."""

from __future__ import annotations

from databosun.api.report import Control

DISCLAIMER = (
    "This report supports an assessment; it is no statement of compliance, which also rests on policies, people and"
    " systems that Databosun does not see."
)

CONTROLS = (
    Control(
        framework="SOC 2 (TSC 2017)",
        clause="A1.2",
        asks="Data backup processes and recovery infrastructure are operated and monitored to meet the objectives.",
        shown="Objectives per database, backups that exist, how many were ever restored, what is overdue or failing.",
        not_shown="Environmental protections; systems that are no Database of these namespaces.",
    ),
    Control(
        framework="SOC 2 (TSC 2017)",
        clause="A1.3",
        asks="Recovery plan procedures are tested to support recovery to the objectives.",
        shown="Each drill: when, which backup, which checks, RTO and RPO against the objective, failures and findings.",
        not_shown="Recovery of applications and of people's procedures around the databases.",
    ),
    Control(
        framework="ISO/IEC 27001:2022",
        clause="A.8.13",
        asks="Backup copies are maintained and regularly tested, as the backup policy says.",
        shown="Backups, tests of them by restoring, the records with their digests.",
        not_shown="The topic-specific policy itself, and that its frequencies are the right ones.",
    ),
    Control(
        framework="ISO/IEC 27001:2022",
        clause="A.8.14",
        asks="Processing facilities have the redundancy that availability requires.",
        shown="How long a database is away where it has to come back from its backup.",
        not_shown="Redundancy itself: replicas and failover are not tested by these drills.",
    ),
    Control(
        framework="HIPAA Security Rule",
        clause="45 CFR 164.308(a)(7)",
        asks="Contingency plan: data backup (ii)(A), disaster recovery (ii)(B), testing and revision (ii)(D).",
        shown="Retrievable copies, tested restores of them, findings and runbooks that were updated after a test.",
        not_shown="Emergency mode operation (ii)(C), criticality analysis (ii)(E), the written plan.",
    ),
    Control(
        framework="PCI DSS v4",
        clause="12.10",
        asks="The incident response plan covers recovery and data backup, and is tested at least yearly.",
        shown="Tests of data backup and recovery with dates, results and what was learnt.",
        not_shown="The incident response plan, its people, and its other tests.",
    ),
    Control(
        framework="DORA (EU) 2022/2554",
        clause="Article 11",
        asks="Response and recovery plans are put in place and tested at least yearly.",
        shown="Tests of recovery from backups with measured times, and their findings.",
        not_shown="Scenarios beyond the loss of a database, communication, third parties.",
    ),
    Control(
        framework="DORA (EU) 2022/2554",
        clause="Article 12",
        asks="Backup policies, restoration and recovery methods, objectives, tests, and checks of data integrity.",
        shown="RTO and RPO as set and as measured, integrity checks of each copy, restored apart from production.",
        not_shown="Physical and logical segregation of the storage, and the policies themselves.",
    ),
)
