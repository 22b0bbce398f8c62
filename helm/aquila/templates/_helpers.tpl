{{- define "aquila.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 53 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for the longest suffix that an object adds. */}}
{{- define "aquila.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains (include "aquila.name" .) .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "aquila.name" .) | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "aquila.selectorLabels" -}}
app.kubernetes.io/name: {{ include "aquila.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "aquila.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "aquila.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "aquila.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "aquila.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Whether the callers' door speaks TLS; refuses when nobody decided. */}}
{{- define "aquila.scheme" -}}
{{- $server := .Values.config.server }}
{{- $tls := or .Values.tls.existingSecret $server.tls }}
{{- if and $tls $server.plain_http }}
{{- fail "config.server.plain_http is true and TLS is configured too: choose one" }}
{{- else if and .Values.tls.existingSecret $server.tls }}
{{- fail "tls.existingSecret and config.server.tls are both set: the first writes the second, choose one" }}
{{- else if and .Values.tls.clientCa.existingSecret (not .Values.tls.existingSecret) }}
{{- fail "tls.clientCa needs tls.existingSecret: certificates of clients are shown in the handshake of this door" }}
{{- else if $tls -}}
https
{{- else if $server.plain_http -}}
http
{{- else }}
{{- fail "how do callers reach the service? Set tls.existingSecret to a TLS Secret, or config.server.plain_http=true if TLS ends in front of the pod" }}
{{- end }}
{{- end }}

{{/* The configuration file: the values as they stand, and the paths of what the chart mounts. */}}
{{- define "aquila.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if .Values.tls.existingSecret }}
{{- $paths := dict "certificate_path" "/etc/aquila/tls/tls.crt" "private_key_path" "/etc/aquila/tls/tls.key" }}
{{- if .Values.tls.clientCa.existingSecret }}
{{- $_ := set $paths "client_ca_path" "/etc/aquila/client-ca/ca.crt" }}
{{- $_ := set $paths "client_certificate" .Values.tls.clientCertificate }}
{{- end }}
{{- $_ := set $config.server "tls" $paths }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* The port at the end of an address. */}}
{{- define "aquila.port" -}}
{{- splitList ":" . | last }}
{{- end }}

{{/* "90s" and "2m" as a number of seconds. */}}
{{- define "aquila.seconds" -}}
{{- if hasSuffix "m" . }}{{ mul 60 (trimSuffix "m" . | int) }}{{ else }}{{ trimSuffix "s" . | int }}{{ end }}
{{- end }}

{{/* Longer than the service itself takes to stop. */}}
{{- define "aquila.gracePeriod" -}}
{{- $delay := include "aquila.seconds" .Values.config.server.shutdown_delay | int }}
{{- $grace := include "aquila.seconds" .Values.config.server.shutdown_grace | int }}
{{- add $delay $grace 5 }}
{{- end }}
