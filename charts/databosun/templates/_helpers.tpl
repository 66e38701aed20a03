{{- define "databosun.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "databosun.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "databosun.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "databosun.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Cluster-wide objects of a release carry its namespace too: two releases may bear one name. */ -}}
{{- define "databosun.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "databosun.fullname" .) -}}
{{- end -}}

{{- define "databosun.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "databosun.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is required where serviceAccount.create is false: name the ServiceAccount that exists already" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "databosun.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "databosun.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: databosun
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "databosun.selectorLabels" -}}
app.kubernetes.io/name: {{ include "databosun.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "databosun.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* {"PostgreSQL": {"15": "<reference>"}}, as JSON. */ -}}
{{- define "databosun.runnerImages" -}}
{{- $runners := .Values.runners -}}
{{- $tag := default .Chart.AppVersion $runners.tag -}}
{{- $all := dict -}}
{{- range $engine, $majors := $runners.images -}}
{{- $references := dict -}}
{{- range $major, $reference := $majors -}}
{{- $_ := set $references $major (default (printf "%s-%s:%s-%s" $runners.repository (lower $engine) $major $tag) $reference) -}}
{{- end -}}
{{- $_ := set $all $engine $references -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{- define "databosun.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- if not .Values.openshift }}
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}
{{- end -}}

{{- define "databosun.securityContext" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
privileged: false
readOnlyRootFilesystem: true
{{- end -}}

{{- /* What the program is told, by variables: the same for the operator and for the hook. */ -}}
{{- define "databosun.settings" -}}
- {name: DATABOSUN_NAMESPACES, value: {{ join "," .Values.watchNamespaces | quote }}}
- {name: DATABOSUN_CLUSTER_ID, value: {{ .Values.clusterId | quote }}}
- {name: DATABOSUN_LEASE_NAMESPACE, value: {{ .Release.Namespace | quote }}}
- {name: DATABOSUN_LEASE_NAME, value: {{ include "databosun.fullname" . | quote }}}
- {name: DATABOSUN_LOG_LEVEL, value: {{ .Values.logLevel | quote }}}
{{- end -}}

{{- /* What the schema cannot say. */ -}}
{{- define "databosun.validate" -}}
{{- if and .Values.watchNamespaces (not .Values.clusterId) -}}
{{- fail "\n\nclusterId is required with watchNamespaces: without rights on the whole cluster the operator cannot read the uid of kube-system.\nSet it once, to a text that no other cluster with the same bucket uses, for example:\n  --set clusterId=$(kubectl get namespace kube-system --output jsonpath={.metadata.uid})\n" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.metrics.service.enabled) -}}
{{- fail "\n\nserviceMonitor.enabled needs metrics.service.enabled: a ServiceMonitor finds pods through a Service. Use podMonitor.enabled instead.\n" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- fail "\n\nserviceMonitor.enabled and podMonitor.enabled exclude each other: every series would be scraped twice.\n" -}}
{{- end -}}
{{- if and .Values.networkPolicies.agents.enabled (not .Values.networkPolicies.agents.namespaces) (not .Values.watchNamespaces) -}}
{{- fail "\n\nnetworkPolicies.agents.namespaces is required with networkPolicies.agents.enabled where watchNamespaces is empty: a NetworkPolicy belongs to one namespace. List the namespaces that hold Databases.\n" -}}
{{- end -}}
{{- if and .Values.networkPolicies.agents.enabled (not (and .Values.networkPolicies.agents.storageEgress .Values.networkPolicies.agents.databaseEgress)) -}}
{{- fail "\n\nnetworkPolicies.agents.storageEgress and databaseEgress are required with networkPolicies.agents.enabled: without them no Job would reach the storage or the databases, and every backup would fail.\n" -}}
{{- end -}}
{{- end -}}

{{- define "databosun.hook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "databosun.dnsEgress" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{- /* The tasks of Jobs (databosun.io/task) that connect to a database. */ -}}
{{- define "databosun.databaseTasks" -}}backup, bridge, probe, archive, drop-slot, inquire, lifecycle, erase, export{{- end -}}
