#!/usr/bin/env bash
# `docker compose` with the variables that fit this machine, the caller's user, and the facts that images and results
# record.  Takes what `docker compose` takes:
#
#   docker/compose.sh build
#   docker/compose.sh up
#   PARITY_DEVICE=cpu docker/compose.sh up   without a GPU; by default that is seen by the driver
#   LOCAL=1 docker/compose.sh build          from the base image of docker/engine.sh: no container registry
#   PARITY_PROFILE=my/profile.yaml docker/compose.sh up   your own, with the folder that holds it, or PARITY_FILES
#
# Paths are taken from where it is called.
set -euo pipefail

real() { python3 -c 'import os, sys; print(os.path.realpath(sys.argv[1]))' "$1"; }
if [[ ${PARITY_PROFILE:-} =~ \.ya?ml$ && -f $PARITY_PROFILE ]]; then  # else it is one that the containers see
  PARITY_PROFILE=$(real "$PARITY_PROFILE") PARITY_FILES=${PARITY_FILES:-$(dirname "$PARITY_PROFILE")}
  export PARITY_PROFILE
fi
if [[ -n ${PARITY_FILES:-} ]]; then
  PARITY_FILES=$(real "$PARITY_FILES")
  if [[ ! -d $PARITY_FILES || $PARITY_FILES =~ ^/(|bin|dev|etc|lib|lib64|opt|proc|run|sbin|sys|usr|data|reports|tmp|suite)$ ]]; then
    echo "$0: PARITY_FILES=$PARITY_FILES: must be a folder, and none that an image has of its own." >&2
    exit 2
  fi
  export PARITY_FILES
fi
[[ -z ${PARITY_REPORTS:-} ]] || export PARITY_REPORTS=$(real "$PARITY_REPORTS")
[[ ${PARITY_DATA:-} != */* ]] || export PARITY_DATA=$(real "$PARITY_DATA")  # without a slash it names a volume
cd "$(dirname "$0")/.."

if [[ -z ${PARITY_DEVICE:-} ]]; then
  PARITY_DEVICE=cpu
  for driver in /dev/nvidiactl /usr/lib/wsl/lib/libcuda.so.1; do [[ ! -e $driver ]] || PARITY_DEVICE=cuda; done
fi
[[ -z ${LOCAL:-} ]] || export PARITY_LOCAL=1

digest() { python3 -c 'import hashlib, sys; print("sha256:" + hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'; }

# What `docker image inspect` says of an image; nothing where it is not here, or no engine is.
inspect() { docker image inspect --format "$2" "$1" 2>/dev/null || true; }

# Whoever calls owns what is written.  An engine without root maps its own root to the caller.
PARITY_UID=${PARITY_UID:-$(id -u)} PARITY_GID=${PARITY_GID:-$(id -g)}
if [[ $(docker info --format '{{.SecurityOptions}}' 2>/dev/null) == *rootless* ]]; then PARITY_UID=0 PARITY_GID=0; fi
if [[ -z ${PARITY_COMMIT:-} ]] && PARITY_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null); then
  [[ -z $(git status --porcelain --untracked-files=no) ]] || PARITY_COMMIT+=+
fi
export PARITY_DEVICE PARITY_UID PARITY_GID PARITY_COMMIT
export PARITY_COMMAND=${PARITY_COMMAND:-docker/compose.sh $*}

for file in Dockerfile.* docker/Dockerfile.*; do
  token=${file##*Dockerfile.} name=$(tr '[:lower:]-' '[:upper:]_' <<<"${file##*Dockerfile.}")
  lock=docker/locks/$token.txt base=$(sed -n 's/^ARG BASE=//p' "$file")
  [[ $token != report ]] || lock=docker/locks/core.txt
  [[ $PARITY_DEVICE != cuda || ! -f docker/locks/$token-cuda.txt ]] || lock=docker/locks/$token-cuda.txt
  [[ $PARITY_DEVICE == cuda ]] || base=ubuntu:24.04
  [[ -z ${LOCAL:-} ]] || base=${PARITY_LOCAL_BASE:-local/debian-base:trixie}
  export "PARITY_LOCK_$name=$(digest <"$lock")"
  export "PARITY_INPUTS_$name=$(cat "$file" .dockerignore docker/locks/uv.txt "$lock" | digest)"
  export "PARITY_BASE_DIGEST_$name=$(inspect "$base" '{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}')"
  export "PARITY_IMAGE_$name=$(inspect "parity-$token:$PARITY_DEVICE" '{{.Id}}')"
done

# Made here, the folder belongs to the caller; made by the engine, to root.
[[ ${1:-} != up ]] || mkdir -p "${PARITY_REPORTS:-reports}"
exec docker compose -f docker-compose.yml "$@"
