#!/bin/sh
# Installs what `make run` and `make test` need, and only what is missing.
#
#   install.sh venv        the virtual environment $VENV, by $PYTHON
#   install.sh pip ARGS…   Python packages into it
#   install.sh npm         the Node packages that tests use
#   install.sh system      the programs that tests use, or those that $PROGRAMS lists in that
#                          form: by apt-get where we are root on Debian, elsewhere named, with
#                          the way to get them
#
# Whatever cannot be had is an error: no test is skipped for want of a program.
set -eu

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}

# command : Debian package : Homebrew formula
PROGRAMS=${PROGRAMS:-"
curl:curl:curl
node:nodejs:node
npm:npm:node
redis-server:redis-server:redis
promtool:prometheus:prometheus
memcached:memcached:memcached
nginx:nginx-light:nginx
haproxy:haproxy:haproxy
wrk:wrk:wrk
chromium:chromium:chromium
"}

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# An index or a mirror may fail in passing: three tries, then its own message stands.
retry() {
    for pause in 3 10; do
        if "$@"; then return 0; fi
        say "failed: $*; trying again in $pause s"
        sleep "$pause"
    done
    "$@"
}

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt() {
    say "installing:$(printf ' %s' "$@")"
    # Packages of servers start them; a test machine has no use for that.
    policy=${POLICY_RC:-/usr/sbin/policy-rc.d}
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    retry apt-get -qq -o DPkg::Lock::Timeout=300 update
    retry apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@" \
        </dev/null >/dev/null
}

venv() {
    command -v "$PYTHON" >/dev/null ||
        die "$PYTHON is not here. Install Python 3.11 or later, or say where it is:" \
            "make PYTHON=/path/to/python3"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$PYTHON is $("$PYTHON" -V 2>&1); vary-proxy needs Python 3.11 or later:" \
            "make PYTHON=python3.12, for example"
    # Debian keeps ensurepip, and so `python -m venv`, in a package of its own.
    if ! "$PYTHON" -c 'import ensurepip' 2>/dev/null; then
        may_install || die "$PYTHON cannot make virtual environments (no ensurepip)." \
            "On Debian and Ubuntu: sudo apt-get install python3-venv"
        apt python3-venv
    fi
    say "making $VENV with $("$PYTHON" -V 2>&1)"
    "$PYTHON" -m venv --clear "$VENV"
}

npm_packages() {
    say "installing the Node packages that tests use"
    (cd tests/node && retry npm ci --no-audit --no-fund --loglevel=error --silent)
}

system() {
    missing='' debian='' brew=''
    for line in $PROGRAMS; do
        name=${line%%:*} rest=${line#*:}
        command -v "$name" >/dev/null && continue
        missing="$missing $name" debian="$debian ${rest%%:*}" brew="$brew ${rest#*:}"
    done
    [ -n "$missing" ] || return 0
    if ! may_install; then
        say "These programs are missing, and the tests need them:$missing"
        say "  Debian, Ubuntu:  sudo apt-get install$debian"
        die "  macOS:           brew install$brew"
    fi
    # shellcheck disable=SC2086  # a list of packages
    apt $debian
    for line in $PROGRAMS; do
        command -v "${line%%:*}" >/dev/null || die "${line%%:*} is still missing after apt-get"
    done
}

PATH=$PATH:/usr/sbin:/sbin # where Debian puts nginx
case ${1:-} in
venv) venv ;;
pip)
    shift
    say "installing Python packages into $VENV"
    retry "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    ;;
npm) npm_packages ;;
system) system ;;
*) die "usage: install.sh venv | pip ARGS… | npm | system" ;;
esac
