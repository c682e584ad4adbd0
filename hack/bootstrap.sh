#!/bin/sh
# What must exist before Helm: namespaces, generated secrets, Kubeflow Pipelines. Safe to repeat; skaffold calls it
# before every deployment. `KFP=external` leaves Kubeflow Pipelines to you.
set -eu
cd "$(dirname "$0")/.."

version=2.17.0
overlay=manifests/kfp
cache=${KFP_CACHE:-.cache/kfp}
pause=${RETRY_PAUSE_SECONDS:-5}

# skaffold names the context it deploys to; without it, the current one.
kubectl() { command kubectl ${SKAFFOLD_KUBE_CONTEXT:+--context "$SKAFFOLD_KUBE_CONTEXT"} "$@"; }
say() { echo "bootstrap: $*"; }

retry() {
  for n in 1 2 3; do
    if "$@"; then return 0; fi
    say "attempt $n of 3 failed: $*" >&2
    sleep $((n * pause))
  done
  return 1
}

# Builds one part of the overlay into $2 unless it lies there already.
render() {
  if [ -s "$2" ]; then return 0; fi
  kubectl kustomize "$overlay/$1" > "$2.new" && mv "$2.new" "$2"
}

# A base that moved would leave its patches without a target, silently.
check_stack() {
  for needed in 'externalName: minio.bikeshare.svc.cluster.local' 'mountPath: /config/config.json' \
    'defaultSecurityContextRunAsNonRoot: "true"' 'name: ml-pipeline-callers'; do
    grep -q "$needed" "$1" || { say "$1 lacks '$needed': does the overlay fit KFP $version?" >&2; return 1; }
  done
  if grep -q minio123 "$1"; then
    say "$1 still holds the stock password" >&2
    return 1
  fi
}

install_kfp() {
  want=$version-$(find "$overlay" -type f | LC_ALL=C sort | xargs cat | cksum | cut -d' ' -f1)
  if [ "$(kubectl -n kubeflow get configmap kfp-applied --ignore-not-found -o 'jsonpath={.data.overlay}')" = "$want" ]
  then
    say "Kubeflow Pipelines $version: unchanged"
    return 0
  fi
  mkdir -p "$cache"
  retry render crds "$cache/crds-$want.yaml"
  retry render stack "$cache/stack-$want.yaml"
  check_stack "$cache/stack-$want.yaml"
  # Server-side: one of the definitions is close to the size limit of client-side apply.
  retry kubectl apply --server-side --force-conflicts -f "$cache/crds-$want.yaml"
  kubectl wait --for=condition=established --timeout=90s \
    crd/workflows.argoproj.io crd/scheduledworkflows.kubeflow.org crd/applications.app.k8s.io
  retry kubectl apply --server-side --force-conflicts -f "$cache/stack-$want.yaml"
  kubectl -n kubeflow create configmap kfp-applied --from-literal=overlay="$want" --dry-run=client -o yaml |
    kubectl apply --server-side -f -
  say "Kubeflow Pipelines $version: applied"
}

# A namespace of that name may be somebody's own: our labels would lift its Pod Security.
ours='app.kubernetes.io/part-of=bikeshare'
if [ "$(kubectl get namespace monitoring --ignore-not-found \
  -o 'jsonpath={.metadata.name} {.metadata.labels.app\.kubernetes\.io/part-of}')" = 'monitoring ' ]; then
  ours="$ours,app.kubernetes.io/component!=monitoring"
  say "namespace monitoring exists and is not ours: left as it is"
fi
retry kubectl apply --server-side -l "$ours" -f manifests/namespaces.yaml
python3 hack/make_secrets.py
case ${KFP:-install} in
  install) install_kfp ;;
  external) say "Kubeflow Pipelines: yours" ;;
  *) say "KFP is '$KFP': use 'install' (default) or 'external'" >&2; exit 2 ;;
esac
