{{- /* Endpoint of the object store; empty means AWS. */ -}}
{{- define "platform.storeEndpoint" -}}
{{- if eq .Values.objectStore.mode "internal" -}}
http://minio.{{ .Release.Namespace }}.svc:9000
{{- else -}}
{{ .Values.objectStore.endpointUrl }}
{{- end -}}
{{- end -}}

{{- /* Host headers that MLflow accepts: every name of its Service, with the port it insists on, and port-forwards. */ -}}
{{- define "platform.mlflowHosts" -}}
{{- $namespace := .Release.Namespace -}}
{{- $names := list "mlflow" (printf "mlflow.%s" $namespace) (printf "mlflow.%s.svc" $namespace) (printf "mlflow.%s.svc.cluster.local" $namespace) -}}
{{- $hosts := list -}}
{{- range $names }}{{ $hosts = append $hosts (printf "%s:5000" .) }}{{ end -}}
{{- concat $hosts (list "localhost:*" "127.0.0.1:*") .Values.mlflow.allowedHosts | join "," -}}
{{- end -}}

{{- /* Ingress rule for one port: named components of this namespace, and optionally KFP's namespace. */ -}}
{{- define "platform.ingressFrom" -}}
- from:
    - podSelector:
        matchLabels:
          app.kubernetes.io/part-of: bikeshare
        matchExpressions:
          - {key: app.kubernetes.io/component, operator: In, values: {{ .components | toJson }}}
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .root.Values.pipelines.namespace }}
  ports:
    - {port: {{ .port }}, protocol: TCP}
{{- end -}}
