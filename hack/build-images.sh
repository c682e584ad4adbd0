#!/usr/bin/env bash
# Build the images with their labels and print sizes: hack/build-images.sh [pipeline|predictor|monitor|dashboard|mlflow]...
#   BASE_IMAGE      base of all images; default: the Dockerfiles' own. hack/base-image.sh makes one without a registry.
#   IMAGE_PREFIX    default bikeshare/
#   IMAGE_TAG       default dev
#   BUILD_OPTIONS   more options for docker build, e.g. --network=host or --no-cache
# pip's index and certificates come from this machine's own pip configuration. The build sees them as secrets, which
# are mounted while pip runs and are in no layer.
set -euo pipefail
cd "$(dirname "$0")/.."

docker=$(hack/docker.sh client)
prefix=${IMAGE_PREFIX:-bikeshare/}
tag=${IMAGE_TAG:-dev}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || revision=$revision-dirty
[ $# -gt 0 ] || set -- pipeline predictor monitor dashboard mlflow

secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
chmod 700 "$secrets"

# `pip config list` knows environment, user and machine files alike: global.timeout='60', :env:.cert='/a/b.pem', …
settings=$(python3 -m pip config list 2>/dev/null | sed -n "s/^[^.]*\.\([a-z-]*\)='\(.*\)'\$/\1 = \2/p")
# A comment for pip and for OpenSSL; tests/images looks for it in every layer.
mark="# bikeshare build secret"
{
  echo "$mark"
  echo "[global]"
  grep -E '^([a-z-]*index[a-z-]*|trusted-host|proxy|timeout|retries) = ' <<<"$settings" | sed 's/\\n/ /g' || true
} >"$secrets/pip.conf"
ca=$(sed -n 's/^cert = //p' <<<"$settings" | head -n 1)
ca=${ca:-${SSL_CERT_FILE:-}}
if [ -n "$ca" ]; then
  { echo "$mark"; cat "$ca"; } >"$secrets/ca.pem"
else
  : >"$secrets/ca.pem"
fi

build() {
  local image=$1 file=Dockerfile target
  target=(--target "$image")
  if [ "$image" = mlflow ]; then
    file=services/mlflow/Dockerfile
    target=()
  fi
  # Several options in one variable: splitting is meant.
  # shellcheck disable=SC2086
  DOCKER_BUILDKIT=1 "$docker" build --quiet --file "$file" "${target[@]}" --tag "$prefix$image:$tag" \
    --secret "id=pip,src=$secrets/pip.conf" --secret "id=ca,src=$secrets/ca.pem" \
    --build-arg "REVISION=$revision" --build-arg "VERSION=$version" \
    ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} ${BUILD_OPTIONS:-} . >/dev/null
}

for image in "$@"; do
  case $image in
    pipeline | predictor | monitor | dashboard | mlflow) ;;
    *) echo "no image is called $image: pipeline, predictor, monitor, dashboard, mlflow" >&2; exit 2 ;;
  esac
done
for image in "$@"; do
  started=$SECONDS
  build "$image"
  bytes=$("$docker" image inspect --format '{{.Size}}' "$prefix$image:$tag")
  printf '%-28s %5d MB unpacked, built in %d s\n' "$prefix$image:$tag" $((bytes / 1000000)) $((SECONDS - started))
done
