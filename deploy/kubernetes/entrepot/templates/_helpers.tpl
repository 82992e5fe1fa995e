{{- define "entrepot.name" -}}
{{- if contains "entrepot" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-entrepot" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "entrepot.selector" -}}
app.kubernetes.io/name: entrepot
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "entrepot.labels" -}}
{{ include "entrepot.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "entrepot.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "entrepot.name" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "entrepot.keys" -}}
{{ default (printf "%s-keys" (include "entrepot.name" .)) .Values.keys.existingSecret }}
{{- end }}

{{- /* Name of an option's variable: publicUrl gives ENTREPOT_PUBLIC_URL. */ -}}
{{- define "entrepot.variable" -}}
ENTREPOT_{{ regexReplaceAll "[A-Z]" . "_${0}" | upper }}
{{- end }}
