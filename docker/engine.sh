#!/usr/bin/env bash
# A Docker engine for a bare Debian machine, and a base image that comes from no container registry.
#
#   docker/engine.sh            engine, Compose and BuildKit, then the base image
#   docker/engine.sh --no-base  without the base image
#   docker/engine.sh stop       end the engine that this script started; another one is left alone
#
# What is there already is used as it is, so it may run at any time.  It needs root, apt-get and a package mirror.
# Afterwards `LOCAL=1 docker/compose.sh up` works, whose images start from the one made here.
set -euo pipefail

RELEASE=trixie
BASE=local/debian-base:$RELEASE
STATE=${PARITY_ENGINE_STATE:-/var/lib/parity-engine}
PID_FILE=$STATE/dockerd.pid
PATIENCE=60  # seconds for an engine to answer, or to end

tell() { echo "engine: $*" >&2; }
refuse() { tell "$*"; exit 2; }
answers() { docker info >/dev/null 2>&1; }

# Our own engine's process id, if it runs; a number that some other process has by now is not it.
own() {
  local pid
  pid=$(cat "$PID_FILE" 2>/dev/null) && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]] && echo "$pid"
}

# wait_for SECONDS COMMAND...: until it succeeds; fails if it never does.
wait_for() {
  local left=$(($1 * 5))
  shift
  until "$@"; do
    ((left-- > 0)) || return 1
    sleep 0.2
  done
}

ended() { [[ ! -e /proc/$1 ]]; }

stop() {
  local pid
  pid=$(own) || { tell 'none was started from here'; return; }
  kill -TERM "$pid"
  wait_for "$PATIENCE" ended "$pid" || refuse "process $pid does not end"
  rm -f "$PID_FILE"
  tell 'stopped'
}

# The address of this machine's Debian packages, as apt knows it: as far as it has read its lists.
mirror() {
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 !~ /security/ && !found { print $2; found = 1 }'
}

need_mirror() {
  [[ -n $(mirror) ]] || apt-get update -qq
  [[ -n $(mirror) ]] || refuse 'apt knows no Debian mirror: install Docker with Compose 2.20 or later yourself'
}

packages() {
  local missing=()
  command -v dockerd >/dev/null || missing+=(docker.io iptables)
  [[ $1 == base ]] && ! command -v debootstrap >/dev/null && missing+=(debootstrap)
  ((${#missing[@]})) || return 0
  tell "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >"$STATE/apt.log" 2>&1 ||
    refuse "the packages could not be installed: see $STATE/apt.log"
}

# Debian 12 has neither plugin; those of the release after it are static programs and run here as well.
plugins() {
  docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1 && return
  tell "unpacking Compose and buildx from Debian $RELEASE"
  local work target=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins
  work=$(mktemp -d)
  mkdir -p "$work/lists/partial" "$work/archives/partial" "$target"
  need_mirror
  echo "deb $(mirror) $RELEASE main" >"$work/sources.list"
  # An apt of its own: the machine's lists and sources stay as they are.
  cat >"$work/apt.conf" <<CONF
Dir::Etc::SourceList "$work/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$work/lists";
Dir::Cache "$work";
APT::Sandbox::User "root";
CONF
  (
    export APT_CONFIG=$work/apt.conf
    cd "$work"
    apt-get update -qq
    apt-get download -qq docker-compose docker-buildx
    for package in ./*.deb; do dpkg-deb --extract "$package" tree; done
  )
  install -m 755 "$work"/tree/usr/libexec/docker/cli-plugins/docker-{compose,buildx} "$target"
  rm -rf "$work"
  docker compose version >/dev/null || refuse 'Compose does not run on this machine'
}

start() {
  answers && return
  [[ -n ${DOCKER_HOST:-} ]] && refuse "the engine at DOCKER_HOST does not answer: $DOCKER_HOST"
  tell 'starting dockerd'
  # What an engine that was killed has left names processes that may be others by now, and keeps a new one from starting.
  if ! pgrep -x dockerd >/dev/null; then rm -f "$PID_FILE" /var/run/docker.pid /var/run/docker/containerd/containerd.pid; fi
  setsid dockerd --pidfile "$PID_FILE" </dev/null >"$STATE/dockerd.log" 2>&1 &
  wait_for "$PATIENCE" answers || refuse "dockerd does not answer: see $STATE/dockerd.log"
}

# Debian's smallest system, Python and the certificates that this machine trusts, its own authorities included.
base_image() {
  docker image inspect "$BASE" >/dev/null 2>&1 && return
  tell "making $BASE: about a minute"
  local tree bundle=/etc/ssl/certs/ca-certificates.crt changes=() name
  tree=$(mktemp -d "$STATE/base.XXXXXX")
  need_mirror
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$RELEASE" "$tree" "$(mirror)" \
    >"$STATE/debootstrap.log" 2>&1 || refuse "debootstrap failed: see $STATE/debootstrap.log"
  [[ -f $bundle ]] && cp "$bundle" "$tree$bundle"
  for name in SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE CURL_CA_BUNDLE; do changes+=(--change "ENV $name=$bundle"); done
  tar -C "$tree" -c . | docker import "${changes[@]}" - "$BASE" >/dev/null
  rm -rf "$tree"
}

case ${1:-} in
  '' | --no-base | stop) ;;
  *) refuse 'usage: docker/engine.sh [--no-base | stop]' ;;
esac
if [[ ${1:-} != stop ]] && answers && docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1 &&
  { [[ ${1:-} == --no-base ]] || docker image inspect "$BASE" >/dev/null 2>&1; }; then
  exit 0
fi
[[ $(id -u) == 0 ]] || refuse 'only root can do that; where an engine runs already, none is needed'
if [[ ${1:-} == stop ]]; then
  stop
  exit 0
fi
command -v apt-get >/dev/null || refuse 'this is no Debian machine: install Docker with Compose 2.20 or later'
mkdir -p "$STATE"
packages "$([[ ${1:-} == --no-base ]] || echo base)"
plugins
start
[[ ${1:-} == --no-base ]] || base_image
tell "ready: Docker $(docker version --format '{{.Server.Version}}'), Compose $(docker compose version --short)"
