{{- /*
Spec of a batch job that must not overlap itself. Takes (dict "root" $ "name" "monitor" "job" .Values.monitor
"deadlineSeconds" 1800 "command" list "optional" list of Secret keys "labels" dict).
*/ -}}
{{- define "bikeshare.cronJobSpec" -}}
{{- $root := .root -}}
schedule: {{ .job.schedule | quote }}
timeZone: {{ $root.Values.timeZone | quote }}
{{- if .job.suspend }}
suspend: true
{{- else }}
# not rendered: who pauses it with kubectl owns the field, and an upgrade neither fails on it nor wakes it up
{{- end }}
concurrencyPolicy: Forbid
# a late start is better than none, and more than 100 missed ones would stop a CronJob for good
startingDeadlineSeconds: 900
successfulJobsHistoryLimit: 3
failedJobsHistoryLimit: 3
jobTemplate:
  metadata:
    labels: {{- include "common.labels" (dict "root" $root "component" .name) | nindent 6 }}
  spec:
    backoffLimit: 2
    activeDeadlineSeconds: {{ .deadlineSeconds }}
    ttlSecondsAfterFinished: 172800
    podFailurePolicy:
      rules:
        # 2 is a wrong configuration: trying again would not help
        - action: FailJob
          onExitCodes: {containerName: {{ .name }}, operator: In, values: [2]}
        # an eviction says nothing about the job
        - action: Ignore
          onPodConditions:
            - {type: DisruptionTarget}
    template:
      metadata:
        labels:
          {{- include "common.podLabels" (dict "root" $root "component" .name) | nindent 10 }}
          {{- range $key, $value := .labels }}
          {{ $key }}: {{ $value | quote }}
          {{- end }}
        annotations: {{- include "bikeshare.checksum" $root | nindent 10 }}
      spec:
        {{- include "common.podDefaults" (dict "root" $root "user" 10001 "account" "monitor") | nindent 8 }}
        restartPolicy: Never
        terminationGracePeriodSeconds: 30
        containers:
          - name: {{ .name }}
            image: {{ include "common.image" (dict "root" $root "image" $root.Values.monitor.image "name" "monitor") }}
            imagePullPolicy: {{ $root.Values.monitor.image.pullPolicy }}
            command: {{- toYaml .command | nindent 14 }}
            envFrom:
              - configMapRef: {name: bikeshare}
            env:
              {{- include "bikeshare.commonEnv" $root | nindent 14 }}
              {{- include "bikeshare.secretEnv" (dict "root" $root "required" .required "optional" .optional) | nindent 14 }}
            resources: {{- toYaml .job.resources | nindent 14 }}
            securityContext: {{- include "common.containerSecurityContext" $root | nindent 14 }}
            volumeMounts:
              - {name: home, mountPath: /var/lib/bikeshare}
              - {name: tmp, mountPath: /tmp}
        volumes:
          - name: home
            emptyDir: {sizeLimit: 1Gi}
          - name: tmp
            emptyDir: {sizeLimit: 512Mi}
{{- end -}}
