#!/bin/sh
# Publish the training pipeline with the image that is deployed, and let KFP start it daily: no overlap, no catch-up.
# The image is found in the ConfigMap that the chart renders; the version is named after its tag. Safe to repeat;
# skaffold calls it after every deployment.
set -eu
cd "$(dirname "$0")/.."

cron=${CRON:-0 30 3 * * *}
tries=${PUBLISH_TRIES:-300}
pause=${RETRY_PAUSE_SECONDS:-2}

kubectl() { command kubectl ${SKAFFOLD_KUBE_CONTEXT:+--context "$SKAFFOLD_KUBE_CONTEXT"} "$@"; }
say() { echo "publish-pipeline: $*"; }
job() { kubectl -n kubeflow get job publish-pipeline --ignore-not-found -o "jsonpath=$1"; }

image=$(kubectl -n bikeshare get configmap bikeshare -o 'jsonpath={.data.BIKESHARE_IMAGE}')
case $image in
  *@sha256:*) version=${image##*@sha256:} ;;
  */*:*) version=${image##*:} ;;
  *) say "ConfigMap bikeshare/bikeshare names the image '$image': it needs a tag or a digest" >&2; exit 2 ;;
esac
case "$image $cron" in
  *[!A-Za-z0-9/:@._\ *,?-]*) say "image '$image' or cron '$cron' holds characters that neither has" >&2; exit 2 ;;
esac
if [ "$version" = latest ]; then
  say "image '$image' moves under its tag: a version must stay what it is" >&2
  exit 2
fi

if [ "$(job '{.metadata.annotations.bikeshare\.dev/published} {.status.succeeded}')" = "$image $cron 1" ]; then
  say "version $version: unchanged"
  exit 0
fi

if [ "${KFP:-install}" = install ]; then
  kubectl -n kubeflow rollout status deployment/ml-pipeline --timeout=900s
fi
kubectl -n kubeflow delete job publish-pipeline --ignore-not-found --wait=true
revision=$(git describe --always --abbrev=40 --exclude='*' --dirty 2>/dev/null || echo unknown)
sed -e "s|__IMAGE__|$image|g" -e "s|__VERSION__|$version|g" -e "s|__CRON__|$cron|g" -e "s|__REVISION__|$revision|g" \
  manifests/publish-pipeline.yaml |
  kubectl apply --server-side -f -

n=0
until [ "$(job '{.status.succeeded}')" = 1 ]; do
  n=$((n + 1))
  failed=$(job '{.status.conditions[?(@.type=="Failed")].reason}')
  if [ -n "$failed" ] || [ "$n" -ge "$tries" ]; then
    kubectl -n kubeflow logs job/publish-pipeline --tail=20 >&2 || true
    say "version $version was not published (${failed:-no answer in time}); look at job kubeflow/publish-pipeline" >&2
    exit 1
  fi
  sleep "$pause"
done
say "version $version: published, scheduled '$cron'"
