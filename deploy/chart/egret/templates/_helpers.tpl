{{- define "egret.labels" -}}
app.kubernetes.io/name: egret
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: egret
{{- end }}

{{- define "egret.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What both programs are told. */}}
{{- define "egret.arguments" -}}
- --store=kubernetes
- --log-format={{ .Values.log.format }}
{{- range .Values.inside }}
- --inside={{ . }}
{{- end }}
{{- range $system, $is := .Values.dialects }}
{{- /* YAML reads a bare on as true. */}}
- --dialect={{ $system }}={{ if kindIs "bool" $is.mode }}{{ ternary "on" "off" $is.mode }}{{ else }}{{ $is.mode }}{{ end }}
{{- end }}
{{- end }}

{{/* Names of kube-vip that both programs know from their environment. */}}
{{- define "egret.kubeVipNames" -}}
{{- $map := (index .Values.dialects "kube-vip").configMap }}
{{- if $map }}
{{- range $name := list "egress_podcidr" "egress_servicecidr" }}
- { name: {{ $name }}, valueFrom: { configMapKeyRef: { name: {{ $map }}, key: {{ $name }} } } }
{{- end }}
- { name: egress_withnftables, valueFrom: { configMapKeyRef: { name: {{ $map }}, key: egress_withnftables, optional: true } } }
{{- end }}
{{- end }}

{{/* Where an agent answers, and where kubelet asks it: both are on the node's network. */}}
{{- define "egret.agent.listen" -}}
{{- $address := .Values.agent.listen.address -}}
{{- if contains ":" $address }}[{{ $address }}]{{ else }}{{ $address }}{{ end }}:{{ .Values.agent.listen.port }}
{{- end }}

{{- define "egret.agent.probed" -}}
{{- $address := .Values.agent.listen.address -}}
{{- if has $address (list "0.0.0.0" "::") }}127.0.0.1{{ else }}{{ $address }}{{ end -}}
{{- end }}
