"""Reasons of the API server and what it refuses."""

from __future__ import annotations

from databosun.api.v1alpha1.reasons.entry import Entry


class ClusterReasons:
    """Reasons of the API server and what it refuses."""

    NOT_FOUND = Entry("NotFound", "Nothing: the object is gone; all is looked at again.")
    RESOURCE_ABSENT = Entry("ResourceAbsent", "Install the CRDs (chart databosun-crds).")
    ALREADY_EXISTS = Entry("AlreadyExists", "Nothing: what was to be created is there already.")
    NAME_TAKEN = Entry(
        "NameTaken", "Delete or rename the foreign object that the message names; give a drill or a restore a new name."
    )
    LIST_EXPIRED = Entry("ListExpired", "Nothing: the list is started again.")
    API_THROTTLED = Entry("ApiThrottled", "Nothing: the API server asks for patience.")
    API_UNAVAILABLE = Entry("ApiUnavailable", "Look at the API server if it goes on.")
    API_UNREACHABLE = Entry("ApiUnreachable", "Look at the network to the API server if it goes on.")
    QUOTA_EXCEEDED = Entry("QuotaExceeded", "Raise the ResourceQuota, or wait until others are gone.")
    NAMESPACE_TERMINATING = Entry(
        "NamespaceTerminating", "Nothing: the namespace is being deleted; data in the store stays."
    )
    FORBIDDEN = Entry(
        "Forbidden", "Install the chart's RBAC again: the operator lacks the right that the message names."
    )
    ADMISSION_REFUSED = Entry("AdmissionRefused", "See the message of the webhook or policy that refused.")
    INVALID_OBJECT = Entry(
        "InvalidObject", "Correct what the message names, such as a podTemplate that the cluster refuses."
    )
    NO_KUBECONFIG = Entry("NoKubeconfig", "Set KUBECONFIG, or run inside a cluster.")
    LEASE_NOT_FRESH = Entry("LeaseNotFresh", "Nothing: deletions wait until this operator is sure to be the only one.")
