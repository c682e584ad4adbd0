{{- /*
Every setting of bikeshare/settings.py that is no secret, by the name of its variable, and the time zone. Not here: BIKESHARE_HOME and
BIKESHARE_MODEL_VERSION, which belong to a pod, and BIKESHARE_SUPERVISOR_PORT, which only the embedded profile has.
*/ -}}
{{- define "bikeshare.settings" -}}
{{- $settings := .Values.settings -}}
{{- $policies := $settings.policies -}}
BIKESHARE_CLOCK: system
BIKESHARE_DASHBOARD_URL: {{ $settings.dashboardUrl | quote }}
BIKESHARE_DRIFT: {{ $policies.drift | toJson | quote }}
BIKESHARE_ENVIRONMENT_NAME: {{ $settings.environmentName | quote }}
BIKESHARE_GATE: {{ $policies.gate | toJson | quote }}
BIKESHARE_IMAGE: {{ include "bikeshare.pipelineImage" . | quote }}
BIKESHARE_MODEL_NAME: {{ $settings.modelName | quote }}
BIKESHARE_NAMESPACE: {{ .Release.Namespace | quote }}
BIKESHARE_PIPELINES_NAMESPACE: {{ .Values.pipelines.namespace | quote }}
BIKESHARE_PIPELINES_URL: {{ include "bikeshare.pipelinesUrl" . | quote }}
BIKESHARE_PIPELINE_PACKAGE: pipelines/compiled/training.yaml
BIKESHARE_PREDICTOR_PORT: "3000"
BIKESHARE_DASHBOARD_PORT: "8501"
BIKESHARE_PREDICTOR_URL: http://predictor.{{ .Release.Namespace }}.svc:3000
BIKESHARE_REFRESH_SECONDS: {{ $settings.refreshSeconds | int64 | quote }}
BIKESHARE_RETENTION_DAYS: {{ $settings.retentionDays | int64 | quote }}
BIKESHARE_RETRAINING: {{ $policies.retraining | toJson | quote }}
BIKESHARE_ROLLOUT: kubernetes
BIKESHARE_ROLLOUT_CHECKS: {{ $policies.rolloutChecks | toJson | quote }}
BIKESHARE_S3_ENDPOINT_URL: {{ include "bikeshare.storeEndpoint" . | quote }}
BIKESHARE_SPOOL_MAX_BYTES: {{ $settings.spoolMaxBytes | int64 | quote }}
BIKESHARE_STORE_URL: {{ .Values.connections.objectStore.url | quote }}
BIKESHARE_VALIDATION: {{ $policies.validation | toJson | quote }}
MLFLOW_TRACKING_URI: {{ include "bikeshare.trackingUrl" . | quote }}
PUSHGATEWAY_URL: {{ ternary .Values.monitoring.pushgatewayUrl "" .Values.monitoring.enabled | quote }}
SLACK_API_URL: {{ $settings.slackApiUrl | quote }}
SLACK_CHANNEL: {{ $settings.slackChannel | quote }}
TZ: {{ .Values.timeZone | quote }}
{{- end -}}

{{- /* Variables that every pod of the project has. */ -}}
{{- define "bikeshare.commonEnv" -}}
- {name: BIKESHARE_HOME, value: /var/lib/bikeshare}
- {name: HOME, value: /tmp}
- {name: DO_NOT_TRACK, value: "1"}
{{- end -}}

{{- /* Variables from the Secret. Takes (dict "root" $ "required" list "optional" list). */ -}}
{{- define "bikeshare.secretEnv" -}}
{{- $secret := .root.Values.existingSecret -}}
{{- range .required }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ . }}}}
{{- end }}
{{- range .optional }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ . }}, optional: true}}
{{- end }}
{{- end -}}

{{- /* A pod restarts when a setting changes. */ -}}
{{- define "bikeshare.checksum" -}}
checksum/config: {{ include "bikeshare.settings" . | sha256sum }}
{{- end -}}
