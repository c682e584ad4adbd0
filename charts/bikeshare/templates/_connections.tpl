{{- define "bikeshare.storeEndpoint" -}}
{{- $store := .Values.connections.objectStore -}}
{{- ternary (printf "http://minio.%s.svc:9000" .Release.Namespace) $store.endpointUrl (eq $store.mode "internal") -}}
{{- end -}}

{{- define "bikeshare.trackingUrl" -}}
{{- $tracking := .Values.connections.tracking -}}
{{- ternary (printf "http://mlflow.%s.svc:5000" .Release.Namespace) $tracking.url (eq $tracking.mode "internal") -}}
{{- end -}}

{{- define "bikeshare.pipelinesUrl" -}}
{{- .Values.pipelines.url | default (printf "http://ml-pipeline.%s.svc:8888" .Values.pipelines.namespace) -}}
{{- end -}}

{{- define "bikeshare.pipelineImage" -}}
{{- include "common.image" (dict "root" $ "image" .Values.pipelines.image "name" "pipelines") -}}
{{- end -}}

{{- /*
Egress rules to what a component uses. Takes (dict "root" $ "uses" (list "objectStore" "database" "tracking")).
Internal means the pods of the platform chart in this namespace.
*/ -}}
{{- define "bikeshare.egressTo" -}}
{{- $root := .root -}}
{{- $internal := dict "objectStore" (dict "component" "minio" "port" 9000) "database" (dict "component" "postgresql" "port" 5432) "tracking" (dict "component" "mlflow" "port" 5000) -}}
{{- range .uses }}
{{- $connection := index $root.Values.connections . }}
{{- $platform := index $internal . }}
{{- if eq $connection.mode "internal" }}
- to:
    - podSelector:
        matchLabels:
          app.kubernetes.io/part-of: bikeshare
          app.kubernetes.io/component: {{ $platform.component }}
  ports:
    - {port: {{ $platform.port }}, protocol: TCP}
{{- else }}
{{- include "common.egressTo" $connection }}
{{- end }}
{{- end }}
{{- end -}}
