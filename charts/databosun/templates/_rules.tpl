{{- /*
The operator's rights, exactly those that it asks for at its start. On Secrets it has none, and on our kinds it writes
nothing but status, new Backups, drill, failover test and lifecycle runs, and the metadata of runs (the label of finished ones, the finalizer of
Backups with deletionPolicy Delete) and of Databases (the finalizer while a replication slot stands for them).
*/ -}}
{{- define "databosun.rules" -}}
- apiGroups: [databosun.io]
  resources: [databases, backupstorages, backuppolicies, restoredrills, failovertests, backups, restoredrillruns, failovertestruns, restores, inquiries, lifecyclepolicies, lifecycleruns, erasurerequests, dataexports, approvals]
  verbs: [get, list, watch]
- apiGroups: [databosun.io]
  resources: [backups, restoredrillruns, failovertestruns, lifecycleruns]
  verbs: [create, delete, patch]
- apiGroups: [databosun.io]
  resources: [restores, databases, erasurerequests, dataexports]
  verbs: [patch]
- apiGroups: [databosun.io]
  resources: [inquiries]
  verbs: [delete, patch]
- apiGroups: [databosun.io]
  resources:
    - databases/status
    - backupstorages/status
    - backuppolicies/status
    - restoredrills/status
    - failovertests/status
    - backups/status
    - restoredrillruns/status
    - failovertestruns/status
    - restores/status
    - inquiries/status
    - lifecyclepolicies/status
    - lifecycleruns/status
    - erasurerequests/status
    - dataexports/status
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
# Archivers.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, update, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
{{- if .Values.rbac.deletePods }}
# Forced failovers, and the fault PodDelete: the primary's pod is ended.
- apiGroups: [""]
  resources: [pods]
  verbs: [delete]
{{- end }}
{{- if .Values.rbac.cloudNativePG }}
# Failover tests of CloudNativePG: who its instances are, and who is to lead.
- apiGroups: [postgresql.cnpg.io]
  resources: [clusters]
  verbs: [get]
- apiGroups: [postgresql.cnpg.io]
  resources: [clusters/status]
  verbs: [patch]
{{- end }}
{{- if .Values.rbac.chaosMesh }}
# The faults ContainerKill and NetworkPartition, which Chaos Mesh does.
- apiGroups: [chaos-mesh.org]
  resources: [networkchaos, podchaos]
  verbs: [create, delete, get]
{{- end }}
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# Whether a Job may read the volume of a database beside its server.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end -}}

{{- /* What the hook before an uninstall needs, to take finalizers off pods, Backups and Databases. */ -}}
{{- define "databosun.cleanupRules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
- apiGroups: [databosun.io]
  resources: [backups, databases]
  verbs: [list, patch]
{{- end -}}
