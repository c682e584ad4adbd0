{{- /*
Reference of an image; a digest wins over the tag, no tag means the chart's appVersion.
Takes (dict "root" $ "image" .Values.predictor.image "name" "predictor").
*/ -}}
{{- define "common.image" -}}
{{- $tag := .image.tag | default .root.Chart.AppVersion -}}
{{- if .image.digest -}}
{{ printf "%s@%s" .image.repository .image.digest }}
{{- else if .root.Values.requireDigests -}}
{{ fail (printf "%s.image.digest is empty and requireDigests is true: give the digest (sha256:...) of %s:%s, a tag can be moved" .name .image.repository $tag) }}
{{- else if eq $tag "latest" -}}
{{ fail (printf "%s.image.tag is \"latest\", which is another image tomorrow: give a version or a digest" .name) }}
{{- else -}}
{{ printf "%s:%s" .image.repository $tag }}
{{- end -}}
{{- end -}}
