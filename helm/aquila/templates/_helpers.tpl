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
app.kubernetes.io/name: {{ include "aquila.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The pod of `helm test`: other labels than the service's pods, or requests of callers would be sent to it. */}}
{{- define "aquila.testLabels" -}}
app.kubernetes.io/name: {{ include "aquila.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "aquila.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "aquila.labels" -}}
{{ include "aquila.selectorLabels" . }}
{{ include "aquila.commonLabels" . }}
{{- end }}

{{/* What the chart sets (`own`, YAML) and what a value adds to it (`more`), in which no key of the chart may stand: YAML has
each key once, and the selectors rest on the chart's. Takes the name of the value too. */}}
{{- define "aquila.withMore" -}}
{{- $own := .own | fromYaml }}
{{- $name := .name }}
{{- range $key, $_ := .more }}
{{- if hasKey $own $key }}
{{- fail (printf "%s: the chart itself sets %s: leave it out" $name $key) }}
{{- end }}
{{- end }}
{{- merge $own (.more | default dict) | toYaml }}
{{- end }}

{{- define "aquila.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "aquila.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "aquila.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The token of the service account is mounted only for who reads it. */}}
{{- define "aquila.automount" -}}
{{- or .Values.serviceAccount.automount (contains "/var/run/secrets/kubernetes.io/serviceaccount" (toYaml .Values.config)) }}
{{- end }}

{{/* The Secret with the certificate of the callers' door; empty when the chart brings none. */}}
{{- define "aquila.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}
{{- include "aquila.fullname" . }}-tls
{{- else }}
{{- .Values.tls.existingSecret }}
{{- end }}
{{- end }}

{{/* Whether the callers' door speaks TLS; refuses when nobody decided. */}}
{{- define "aquila.scheme" -}}
{{- $server := .Values.config.server }}
{{- $own := include "aquila.tlsSecret" . }}
{{- $tls := or $own $server.tls }}
{{- if and $tls $server.plain_http }}
{{- fail "config.server.plain_http is true and TLS is configured too: choose one" }}
{{- else if and .Values.tls.certManager.enabled .Values.tls.existingSecret }}
{{- fail "tls.certManager and tls.existingSecret are both set: choose one" }}
{{- else if and .Values.tls.certManager.enabled (not .Values.tls.certManager.issuerRef.name) }}
{{- fail "tls.certManager.issuerRef.name is empty: name the issuer of cert-manager" }}
{{- else if and $own $server.tls }}
{{- fail "the chart's tls and config.server.tls are both set: the first writes the second, choose one" }}
{{- else if and .Values.tls.clientCa.existingSecret (not $own) }}
{{- fail "tls.clientCa needs tls.existingSecret or tls.certManager: certificates of clients are shown in the handshake of this door" }}
{{- else if $tls -}}
https
{{- else if $server.plain_http -}}
http
{{- else }}
{{- fail "how do callers reach the service? Set tls.existingSecret to a TLS Secret or tls.certManager, or config.server.plain_http=true if TLS ends in front of the pod" }}
{{- end }}
{{- end }}

{{- define "aquila.opsTls" -}}
{{- if or .Values.ops.tls.existingSecret .Values.config.ops.tls }}yes{{ end }}
{{- end }}

{{/* The configuration file: the values as they stand, and the paths of what the chart mounts. */}}
{{- define "aquila.config" -}}
{{- $config := deepCopy .Values.config }}
{{- range $section, $settings := .Values.config }}
{{- if kindIs "invalid" $settings }}{{ $_ := unset $config $section }}{{ end }}
{{- end }}
{{- if include "aquila.tlsSecret" . }}
{{- $paths := dict "certificate_path" "/etc/aquila/tls/tls.crt" "private_key_path" "/etc/aquila/tls/tls.key" }}
{{- if .Values.tls.clientCa.existingSecret }}
{{- $_ := set $paths "client_ca_path" "/etc/aquila/client-ca/ca.crt" }}
{{- $_ := set $paths "client_certificate" .Values.tls.clientCertificate }}
{{- end }}
{{- $_ := set $config.server "tls" $paths }}
{{- end }}
{{- if .Values.ops.tls.existingSecret }}
{{- if $config.ops.tls }}
{{- fail "ops.tls.existingSecret and config.ops.tls are both set: the first writes the second, choose one" }}
{{- end }}
{{- $_ := set $config.ops "tls" (dict "certificate_path" "/etc/aquila/ops-tls/tls.crt" "private_key_path" "/etc/aquila/ops-tls/tls.key") }}
{{- end }}
{{- if .Values.ops.token.existingSecret }}
{{- $_ := set $config.ops "bearer_token_path" (printf "/etc/aquila/ops-token/%s" .Values.ops.token.key) }}
{{- end }}
{{- include "aquila.addStore" (dict "root" . "config" $config) }}
{{- toYaml $config }}
{{- end }}

{{/* The paths of the store's secrets, and how many pods share it; says nothing. Takes the root and the configuration. */}}
{{- define "aquila.addStore" -}}
{{- $store := .root.Values.store }}
{{- $settings := .config.store }}
{{- if $settings }}
{{- $redis := $settings.redis }}
{{- if not (or $store.sealKey.existingSecret $settings.seal_key_path) }}
{{- fail "config.store needs store.sealKey.existingSecret: a Secret with what `aquila new-seal-key` printed" }}
{{- end }}
{{- if not (or $redis.url $redis.urls) }}
{{- fail "config.store.redis needs url, or urls of Sentinels or of a Cluster" }}
{{- end }}
{{- if $store.sealKey.existingSecret }}
{{- $_ := set $settings "seal_key_path" (printf "/etc/aquila/store-seal/%s" $store.sealKey.key) }}
{{- end }}
{{- if $store.password.existingSecret }}
{{- $_ := set $redis "password_path" (printf "/etc/aquila/store-password/%s" $store.password.key) }}
{{- end }}
{{- if $store.ca.existingSecret }}
{{- $_ := set $redis "ca_path" "/etc/aquila/store-ca/ca.crt" }}
{{- end }}
{{- if not $settings.max_replicas }}
{{- $_ := set $settings "max_replicas" (include "aquila.sharing" .root | int) }}
{{- end }}
{{- else if or $store.sealKey.existingSecret $store.password.existingSecret $store.ca.existingSecret }}
{{- fail "store names Secrets, and there is no config.store that they are for" }}
{{- end }}
{{- end }}

{{/* The ports of the addresses in `config.store.redis`, as YAML. */}}
{{- define "aquila.storePorts" -}}
{{- $redis := .Values.config.store.redis }}
{{- $ports := .Values.networkPolicy.store.extraPorts }}
{{- range concat (list $redis.url | compact) ($redis.urls | default list) }}
{{- $authority := regexReplaceAll "^rediss?://([^/]*).*$" . "${1}" }}
{{- $ports = append $ports (regexFind ":[0-9]+$" $authority | trimPrefix ":" | default "6379" | int) }}
{{- end }}
{{- range $ports | uniq }}
- port: {{ . }}
  protocol: TCP
{{- end }}
{{- end }}

{{/* The Secrets that are mounted, by the name of their folder below /etc/aquila. */}}
{{- define "aquila.secrets" -}}
{{- $store := .Values.store }}
{{- dict "keys" .Values.keys.existingSecret "tls" (include "aquila.tlsSecret" .) "client-ca" .Values.tls.clientCa.existingSecret "ops-tls" .Values.ops.tls.existingSecret "ops-token" .Values.ops.token.existingSecret "store-seal" $store.sealKey.existingSecret "store-password" $store.password.existingSecret "store-ca" $store.ca.existingSecret | toYaml }}
{{- end }}

{{/* How many pods share the store; empty without one. Of no pod at all the first that starts is one. */}}
{{- define "aquila.sharing" -}}
{{- with .Values.config.store }}
{{- .max_replicas | default (include "aquila.mostPods" $ | int | max 1) }}
{{- end }}
{{- end }}

{{/* What a running pod does not take over: only this rolls the pods. The share of the budget is a part of it. */}}
{{- define "aquila.fixed" -}}
{{- $server := pick .Values.config.server "listen" "shutdown_delay" "shutdown_grace" }}
{{- dict "server" $server "ops" .Values.config.ops.listen "log" .Values.config.log "audit" .Values.config.audit "store" .Values.config.store "sharing" (include "aquila.sharing" .) | toYaml | sha256sum }}
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

{{- define "aquila.mostPods" -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled | int }}
{{- end }}

{{/* Salesforce blocks a user at 3,600 logins within an hour, and pods count for themselves until they share a store. */}}
{{- define "aquila.refuseTooManyLogins" -}}
{{- if not .Values.config.store }}
{{- $pods := include "aquila.mostPods" . | int }}
{{- range $name, $integration := .Values.config.integrations }}
{{- $budget := get $integration "login_budget_per_hour" | default 120 | int }}
{{- if gt (mul $pods $budget) 3000 }}
{{- fail (printf "%d pods × login_budget_per_hour %d of %s = %d logins within an hour, and Salesforce blocks a user at 3600: lower one of them to at most 3000 together, or configure a shared store" $pods $budget $name (mul $pods $budget)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What both monitors say of the ops door. Takes the root, the monitor and its name among the values. */}}
{{- define "aquila.scrape" -}}
path: /metrics
scheme: {{ ternary "https" "http" (eq (include "aquila.opsTls" .root) "yes") }}
interval: {{ .monitor.interval }}
scrapeTimeout: {{ .monitor.scrapeTimeout }}
{{- with .root.Values.ops.token }}
{{- if .existingSecret }}
authorization:
  credentials:
    name: {{ .existingSecret }}
    key: {{ .key }}
{{- end }}
{{- end }}
{{- if include "aquila.opsTls" .root }}
{{- $tls := dict "serverName" (printf "%s-ops.%s.svc" (include "aquila.fullname" .root) .root.Release.Namespace) }}
{{- with .root.Values.ops.tls.existingSecret }}
{{- $_ := set $tls "ca" (dict "secret" (dict "name" . "key" "ca.crt")) }}
{{- end }}
tlsConfig:
  {{- include "aquila.withMore" (dict "own" (toYaml $tls) "more" .monitor.tlsConfig "name" (printf "%s.tlsConfig" .name)) | nindent 2 }}
{{- end }}
{{- end }}

{{/* Whole folders: a file mounted by subPath would never see a change. */}}
{{- define "aquila.volumeMounts" -}}
{{- $keys := or .Values.keys.existingSecret .Values.keys.csi.secretProviderClass }}
{{- $mounted := merge (dict "keys" $keys "config" true) (include "aquila.secrets" . | fromYaml) }}
{{- range $name, $there := $mounted }}
{{- if $there }}
- name: {{ $name }}
  mountPath: /etc/aquila/{{ $name }}
  readOnly: true
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
