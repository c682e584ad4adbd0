{{- /* Egress rule: names can be resolved. */ -}}
{{- define "common.egressDns" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{- /* Egress rule: one connection. Takes (dict "peers" list "port" 5432); an empty list allows nothing. */ -}}
{{- define "common.egressTo" -}}
{{- if .peers }}
- to: {{- toYaml .peers | nindent 4 }}
  ports:
    - {port: {{ .port }}, protocol: TCP}
{{- end }}
{{- end -}}
