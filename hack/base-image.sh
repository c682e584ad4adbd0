#!/usr/bin/env bash
# A base image for machines that reach Debian's packages but no image registry: hack/base-image.sh [TAG]
# bookworm with its Python 3.11, made by debootstrap; an existing TAG is left alone. Use it as BASE_IMAGE.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${1:-bikeshare/base:bookworm}
docker=$(hack/docker.sh client)

if "$docker" image inspect "$tag" >/dev/null 2>&1; then
  echo "$tag is there already"
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "debootstrap needs root: run as root, or build with BASE_IMAGE=python:3.11-slim-bookworm" >&2; exit 2; }
if ! command -v debootstrap >/dev/null; then
  apt-get -o DPkg::Lock::Timeout=600 update -qq
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends debootstrap >/dev/null
fi

work=$(mktemp -d)
root=$work/root
cleanup() {
  # A /proc that is still mounted would be emptied file by file.
  for mounted in proc sys; do
    ! mountpoint -q "$root/$mounted" || umount "$root/$mounted"
  done
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT

debootstrap --variant=minbase --include=ca-certificates,python3-minimal,python3-venv \
  bookworm "$root" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
find "$root/usr/share/doc" -type f ! -name copyright -delete
tar --create --directory "$root" \
  --exclude './dev/*' --exclude './proc/*' --exclude './sys/*' --exclude './tmp/*' --exclude './var/cache/*' \
  --exclude './var/lib/apt/lists/*' --exclude './var/log/*' --exclude './usr/share/man/*' \
  --exclude './usr/share/info/*' --exclude './usr/share/locale/*' . \
  | "$docker" import --change 'CMD ["python3"]' --message "debootstrap bookworm" - "$tag" >/dev/null
"$docker" image ls "$tag"
