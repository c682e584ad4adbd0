#!/bin/sh
# Install the Chromium that drives the dashboard's tests, on Debian as root; does nothing when there is one.
set -eu
if command -v chromium >/dev/null 2>&1; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "chromium is missing and only root may install it: apt-get install chromium" >&2
  exit 2
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# A browser without fonts draws boxes; the screenshots are looked at.
apt-get install -y -qq --no-install-recommends chromium fonts-noto-core fonts-noto-color-emoji >/dev/null
