#!/bin/sh
# Makes sure that the servers which tests and the demo's options start are on this machine: Postgres, etcd, and openssl for
# certificates of tests. Nothing is left running: tests and the demo start their own, in temporary folders.
#
# Usage: sh scripts/services.sh [--quiet]
set -eu

have() { command -v "$1" >/dev/null 2>&1; }
say() { printf '%s\n' "$*"; }

debian="" wanted=""
lack() { debian="$debian $1"; wanted="$wanted
  $2"; }

have postgres || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || lack postgresql "Postgres 15 or newer: postgres and initdb"
have etcd || lack etcd-server "etcd 3.4 or newer"
have openssl || lack openssl "openssl"

if [ -z "$debian" ]; then
  [ "${1:-}" = --quiet ] || say "The servers for tests are here."
  exit 0
fi
if have apt-get && [ "$(id -u)" = 0 ]; then
  say "Installing servers for tests:$debian"
  # The package would start a database of its own, which nothing here needs.
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
  fi
  apt-get update -qq
  # shellcheck disable=SC2086  # a list of words on purpose
  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends \
    -o Dpkg::Options::=--force-confold $debian >/dev/null
  exit 0
fi
say "Tests need servers that are missing on this machine:$wanted" >&2
if have apt-get; then say "Install them with: sudo apt-get update && sudo apt-get install -y$debian" >&2
else say "Install them with this system's package manager, so that they are on PATH." >&2; fi
exit 1
