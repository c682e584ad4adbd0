{{- /* Labels of an object. Takes (dict "root" $ "component" "predictor"); component may be absent. */ -}}
{{- define "common.labels" -}}
{{ include "common.podLabels" . }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* Labels of a pod template: without the chart's version, whose change must restart nothing. */ -}}
{{- define "common.podLabels" -}}
{{ include "common.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: bikeshare
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{- /* The part of the labels that never changes: selectors are immutable. Takes the same dict. */ -}}
{{- define "common.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}
