{{- /*
Pod of a predictor. Takes (dict "root" $ "track" "stable"). The annotation bikeshare.dev/model-version is not rendered:
it belongs to the promoter, and without it the process waits, alive and not ready.
*/ -}}
{{- define "bikeshare.predictorPod" -}}
{{- $root := .root -}}
{{- $predictor := .root.Values.predictor -}}
metadata:
  labels:
    {{- include "common.podLabels" (dict "root" $root "component" "predictor") | nindent 4 }}
    bikeshare.dev/track: {{ .track }}
  annotations: {{- include "bikeshare.checksum" $root | nindent 4 }}
spec:
  {{- include "common.podDefaults" (dict "root" $root "user" 10001 "account" "predictor") | nindent 2 }}
  # longer than the pause before the stop and the 25 s in which requests in flight end and the log is flushed
  terminationGracePeriodSeconds: 45
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "common.selectorLabels" (dict "root" $root "component" "predictor") | nindent 10 }}
          bikeshare.dev/track: {{ .track }}
  containers:
    - name: predictor
      image: {{ include "common.image" (dict "root" $root "image" $predictor.image "name" "predictor") }}
      imagePullPolicy: {{ $predictor.image.pullPolicy }}
      command: [python, -m, services.predictor, --host, 0.0.0.0, --port, "3000"]
      ports:
        - {name: http, containerPort: 3000}
      envFrom:
        - configMapRef: {name: bikeshare}
      env:
        {{- include "bikeshare.commonEnv" $root | nindent 8 }}
        - {name: BENTOML_HOME, value: /tmp/bentoml}
        - {name: BENTOML_DO_NOT_TRACK, value: "True"}
        # one request is microseconds of work: a second thread per forest only costs
        - {name: OMP_NUM_THREADS, value: "1"}
        - name: BIKESHARE_MODEL_VERSION
          valueFrom: {fieldRef: {fieldPath: "metadata.annotations['bikeshare.dev/model-version']"}}
        {{- include "bikeshare.secretEnv" (dict "root" $root "required" (list "BIKESHARE_DATABASE_URL" "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY") "optional" (list "BIKESHARE_API_KEY")) | nindent 8 }}
      # liveness, not readiness: before the first promotion there is no model, and that must not restart anything
      startupProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 2
        failureThreshold: 60
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 3
        timeoutSeconds: 2
      livenessProbe:
        httpGet: {path: /livez, port: http}
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 3
      lifecycle:
        # endpoints are removed while the process still answers
        preStop: {sleep: {seconds: 5}}
      # the promoter repeats it when a version crashes
      terminationMessagePolicy: FallbackToLogsOnError
      resources: {{- toYaml $predictor.resources | nindent 8 }}
      securityContext: {{- include "common.containerSecurityContext" $root | nindent 8 }}
      volumeMounts:
        - {name: home, mountPath: /var/lib/bikeshare}
        - {name: tmp, mountPath: /tmp}
  volumes:
    - name: home
      emptyDir: {sizeLimit: {{ add 268435456 (int64 $root.Values.settings.spoolMaxBytes) | quote }}}
    - name: tmp
      emptyDir: {sizeLimit: 256Mi}
{{- end -}}
