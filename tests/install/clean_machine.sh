#!/usr/bin/env bash
# A stranger's first five minutes, for real: a chroot with Debian's python3, python3-venv, make and git and nothing else, an
# ordinary user, a clone, `make test`, `make run` and a request.
#
#   tests/install/clean_machine.sh                 all of it, with the hub and without, without npm and with
#   ONLY="install test" tests/install/clean_machine.sh   some steps: install test run nohub npm wheel
#   SOURCE=worktree …                              the working tree as it is, instead of a clone of HEAD
#
# Needs root on Debian (chroot, mount, debootstrap). MODELSCOPE_CACHE names a folder with the model: it stands in for the hub.
# PYTHON_SUITE picks Debian's release; WORK keeps the chroot.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=${WORK:-/var/tmp/fsmn-vad-clean}
suite=${PYTHON_SUITE:-bookworm}
port=${VERIFY_PORT:-18419}
steps=${ONLY:-install test run nohub npm wheel}
machine=$work/machine
home=/home/dev
here=$(pwd)
models=${MODELSCOPE_CACHE:+$(cd "$MODELSCOPE_CACHE" && pwd)}

say() { printf '\n== %s\n' "$*"; }
die() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
wanted() { case " $steps " in *" $1 "*) ;; *) return 1 ;; esac; }

[ "$(id -u)" = 0 ] || die "needs root (chroot, mount)"
mkdir -p "$work"

say "a machine with python3, make and git ($suite)"
if [ ! -e "$work/$suite.tar" ]; then
  command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap >/dev/null; }
  rm -rf "$machine"
  debootstrap --variant=minbase --include=ca-certificates,git,make,python3,python3-venv "$suite" "$machine" \
    >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; exit 1; }
  tar -C "$machine" -cf "$work/$suite.tar" .
fi
rm -rf "$machine" && mkdir "$machine" && tar -C "$machine" -xf "$work/$suite.tar"
chroot "$machine" useradd --create-home --home-dir "$home" dev

# Mirrors and proxies that this machine needs, the new one needs too: certificates, pip's variables, local wheel folders.
carried=()
binds="/etc/resolv.conf:/etc/resolv.conf /etc/hosts:/etc/hosts"
if [ -n "${SSL_CERT_FILE:-}" ]; then
  binds="$binds $SSL_CERT_FILE:/run/certificates.crt"
  for name in SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS; do carried+=("$name=/run/certificates.crt"); done
fi
for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS http_proxy https_proxy no_proxy; do
  [ -z "${!name:-}" ] || carried+=("$name=${!name}")
done
for wheels in ${PIP_FIND_LINKS:-}; do [ ! -d "$wheels" ] || binds="$binds $wheels:$wheels"; done

enter='
set -e
machine=$1 binds=$2; shift 2
mount --rbind /dev "$machine/dev"; mount -t proc proc "$machine/proc"
for bind in $binds; do
  from=${bind%%:*} to=$machine${bind#*:}
  if [ -d "$from" ]; then mkdir -p "$to"; else mkdir -p "${to%/*}"; [ -e "$to" ] || : >"$to"; fi
  mount --bind "$from" "$to"
done
exec "$@"'
# As the new user, in the clone. The process is the command itself, so that a signal reaches it.
enter_machine() {
  exec unshare --mount sh -c "$enter" sh "$machine" "$binds ${more_binds:-}" \
    chroot --userspec=dev:dev "$machine" /usr/bin/env -i -C "${folder:-$home/project}" HOME="$home" LANG=C.UTF-8 \
    PATH=/usr/local/bin:/usr/bin:/bin "${carried[@]}" "$@"
}
in_machine() { (enter_machine "$@"); }

say "cloning"
if [ "${SOURCE:-clone}" = worktree ]; then
  mkdir "$machine$home/project"
  git ls-files -co --exclude-standard -z | tar --null --files-from=- -cf - | tar -C "$machine$home/project" -xf -
  chroot "$machine" chown -R dev:dev "$home/project"
else
  chroot "$machine" git config --system --add safe.directory '*'
  # Of a linked worktree, too, whose `.git` is a file: what is cloned is the repository, what is tried is this commit.
  origin=$(git rev-parse --path-format=absolute --git-common-dir)
  more_binds="$origin:/origin.git" folder=$home in_machine git clone --quiet /origin.git project
  in_machine git checkout --quiet "$(git rev-parse HEAD)"
fi

# start NAME=VALUE… : `make run` in the background; its process id in $service, its words in $work/run.log
start() {
  enter_machine env "$@" VAD_PORT="$port" make run >"$work/run.log" 2>&1 &
  service=$!
  trap 'stop >/dev/null 2>&1 || true' EXIT
}
# make passes no signal on to what it runs; Ctrl-C on a terminal reaches the whole group, so the children get it here.
stop() {
  pkill -INT -P "$service" 2>/dev/null || kill -INT "$service" 2>/dev/null || true
  wait "$service" || true
  trap - EXIT
}
ready() {
  for _ in $(seq 1 "${1:-1200}"); do
    curl -fsS "http://127.0.0.1:$port/health/ready" >/dev/null 2>&1 && return 0
    kill -0 "$service" 2>/dev/null || return 1
    sleep 0.25
  done
  return 1
}
ask() {
  curl -fsS -F "file=@$work/probe.wav" "http://127.0.0.1:$port/vad" >"$work/answer.json" || return 1
  python3 -c 'import json,sys; a=json.load(open(sys.argv[1])); assert a["audio"]["duration_ms"]==2000 and isinstance(a["segments"],list), a
print("answered by", a["model"]["id"], a["segments"])' "$work/answer.json"
}
python3 - "$work/probe.wav" <<'PY'
import math, struct, sys, wave
with wave.open(sys.argv[1], "wb") as out:
    out.setparams((1, 2, 16000, 0, "NONE", ""))
    out.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(n / 9))) for n in range(32000)))
PY
say_log() { cat "$work/run.log"; die "$1"; }

if wanted install; then
  say "make install"
  in_machine make install
  in_machine make install | grep -q "Nothing to be done" || die "a second 'make install' did something"
  in_machine make | grep -q "^  run " || die "make does not explain itself"
fi

if wanted test; then
  say "make test, without reference data"
  in_machine make test ARGS=-q | tail -n 40
fi

if wanted run && [ -n "$models" ]; then
  say "make run, model within reach"
  more_binds="$models:/models" start MODELSCOPE_CACHE=/models
  ready || say_log "never ready"
  ask || say_log "POST /vad"
  curl -fsS -H 'Accept: text/html' "http://127.0.0.1:$port/health" >/dev/null
  stop
fi

if wanted nohub; then
  say "make run, no hub, no model"
  began=$(date +%s)
  start MODELSCOPE_CACHE=/tmp/no-models MODELSCOPE_ENDPOINT=http://127.0.0.1:9
  if ready 240; then
    ask || say_log "POST /vad"
    python3 -c 'import json,sys; m=json.load(open(sys.argv[1]))["model"]; assert "silero" in m["id"].lower(), m' "$work/answer.json" \
      || die "another model serves and does not say so"
    grep -qi silero "$work/run.log" || say_log "the terminal does not say that another model serves"
    stop
  else
    wait "$service" || true
    trap - EXIT
    grep -q 'Error 3' "$work/run.log" || say_log "exit status is not 3"
    grep -q VAD_MODEL "$work/run.log" || say_log "does not say how to supply a model"
    echo "ended with status 3, saying how to supply a model"
  fi
  [ $(($(date +%s) - began)) -le 20 ] || die "took longer than 20 s to make up its mind"
fi

if wanted npm && [ -f web/package.json ]; then
  command -v npm >/dev/null || die "this machine has no Node.js to lend to the other one"
  say "make page, with npm"
  (cd / && cp -a --parents usr/bin/node usr/bin/npm usr/lib/node_modules/npm "$machine")
  in_machine make page
  [ -f "$machine$home/project/app/web/static/index.html" ] || die "no page"
  if [ -n "$models" ]; then
    more_binds="$models:/models" start MODELSCOPE_CACHE=/models
    ready || say_log "never ready"
    curl -fsSL -H 'Accept: text/html' "http://127.0.0.1:$port/" | grep -qi '<html' || die "no page at /"
    stop
  fi
fi

if wanted wheel; then
  say "wheel and sdist, installed into an empty environment"
  in_machine sh -c 'python3 -m venv /tmp/b && /tmp/b/bin/pip install -q build && /tmp/b/bin/python -m build --outdir /tmp/dist . >/tmp/build.log 2>&1 || { cat /tmp/build.log; exit 1; }'
  in_machine sh -c 'python3 -m venv /tmp/w && /tmp/w/bin/pip install -q -c constraints.txt /tmp/dist/*.whl'
  in_machine sh -c 'tar tzf /tmp/dist/*.tar.gz | grep -q "/LICENSE$"'
  in_machine sh -c '/tmp/w/bin/python -m zipfile -l /tmp/dist/*.whl | grep -q "licenses/LICENSE"' || die "no licence in the wheel"
  if [ -f "$machine$home/project/app/web/static/index.html" ]; then
    in_machine sh -c '/tmp/w/bin/python -m zipfile -l /tmp/dist/*.whl | grep -q "app/web/static/index.html"' || die "no page in the wheel"
  fi
  folder=/tmp in_machine /tmp/w/bin/fsmn-vad --help >/dev/null
fi

say "green: $steps"
