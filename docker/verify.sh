#!/usr/bin/env bash
# Builds an image from the Dockerfile's own steps in a chroot and tries what it promises, without a Docker engine:
#
#   docker/verify.sh [Dockerfile] [--build-arg NAME=VALUE …]
#
# The image is built; holds no compiler; is at most MAX_MB large; runs as a user that is not root on a root file system that
# is read-only; its HEALTHCHECK passes; it answers POST /vad; SIGTERM ends it with status 0.
# Needs root on Debian. MODELSCOPE_CACHE names a folder with the model (else the hub is asked). WORK keeps the stages.
set -euo pipefail
cd "$(dirname "$0")/.."

dockerfile=docker/Dockerfile
if [ $# -gt 0 ] && [ -f "$1" ]; then dockerfile=$1; shift; fi
work=${WORK:-/var/tmp/fsmn-vad-image}
max_mb=${MAX_MB:-850}
port=${VERIFY_PORT:-18417}
suite=$(sed -n 's/^ARG DEBIAN=//p' "$dockerfile")

say() { printf '\n== %s\n' "$*"; }
die() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
fact() { python3 -c 'import json,sys; v=json.load(open(sys.argv[1]))[sys.argv[2]]; print(v if isinstance(v,str) else "\n".join(v))' "$work/image.json" "$1"; }

[ "$(id -u)" = 0 ] || die "needs root (chroot, mount)"
mkdir -p "$work"

if command -v hadolint >/dev/null; then
  say "hadolint"
  hadolint "$dockerfile"
fi

if [ ! -e "$work/$suite/.complete" ]; then
  say "Debian $suite"
  command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap >/dev/null; }
  rm -rf "${work:?}/$suite"
  debootstrap --variant=minbase "$suite" "$work/$suite" >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; exit 1; }
  # What Debian's slim image leaves out.
  rm -rf "$work/$suite"/var/cache/apt/* "$work/$suite"/var/lib/apt/lists/* \
    "$work/$suite"/usr/share/{doc,man,locale,info,lintian,groff}/*
  printf 'path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\npath-exclude /usr/share/locale/*\n' \
    >"$work/$suite/etc/dpkg/dpkg.cfg.d/docker"
  printf 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };\nDir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n' \
    >"$work/$suite/etc/apt/apt.conf.d/docker-clean"
  touch "$work/$suite/.complete"
fi

say "steps of $dockerfile"
python3 docker/chroot_build.py "$dockerfile" --work "$work" --debian "$work/$suite" "$@"

image=$work/image
say "what is in it"
rm -f "$image/.complete"
size_mb=$(($(du -sb "$image" | cut -f1) / 1000000))  # as Docker counts: bytes of files, in millions
echo "size: $size_mb MB"
[ "$size_mb" -le "$max_mb" ] || die "larger than $max_mb MB"
for tool in gcc cc g++ clang make ld strip pip pip3 npm node git; do
  for bin in usr/bin usr/local/bin opt/venv/bin; do
    [ ! -e "$image/$bin/$tool" ] || die "$tool is in the image"
  done
done
user=$(fact user)
[ "${user%%:*}" != 0 ] && [ "$user" != root ] || die "runs as root"
[ -d "$image/opt/venv/lib" ] || die "no environment"
page=$(find "$image/opt/venv/lib" -path '*app/web/static/index.html' | head -1)
[ -n "$page" ] || die "no page"
grep -rqE 'PIP_|_proxy|SSL_CERT' "$work/image.json" && die "the builder's environment leaked into the image" || true

say "running it, read-only, as $user"
mapfile -t env_lines < <(python3 -c 'import json,sys; [print(f"{k}={v}") for k,v in json.load(open(sys.argv[1]))["env"].items()]' "$work/image.json")
mapfile -t command < <(fact entrypoint; fact cmd)
mapfile -t health < <(fact healthcheck)
workdir=$(fact workdir)
models=${MODELSCOPE_CACHE:+$(cd "$MODELSCOPE_CACHE" && pwd)}

# In a mount namespace of its own: the image remounted read-only, /tmp in memory, the model (if given) at /models.
enter='
set -e
image=$1 models=$2; shift 2
mount --bind "$image" "$image"
mount --rbind /dev "$image/dev"; mount -t proc proc "$image/proc"
mount -t tmpfs -o mode=1777,size=256m tmpfs "$image/tmp"
[ -z "$models" ] || mount --bind -o ro "$models" "$image/models"
mount -o remount,bind,ro "$image"
exec "$@"'
enter_image() {
  exec unshare --mount sh -c "$enter" sh "$image" "$models" \
    chroot --userspec="$user" "$image" /usr/bin/env -i -C "$workdir" "${env_lines[@]}" VAD_HOST=127.0.0.1 "VAD_PORT=$port" "$@"
}
in_image() { (enter_image "$@"); }

if in_image sh -c 'touch /probe /opt/venv/probe' 2>/dev/null; then die "the root file system is writable"; fi
in_image sh -c 'id -u; touch /tmp/probe' >"$work/id" || die "/tmp is not writable"
[ "$(cat "$work/id")" != 0 ] || die "uid 0"

started=$(date +%s%N)
enter_image "${command[@]}" >"$work/service.log" 2>&1 &
service=$!
trap 'kill "$service" 2>/dev/null || true' EXIT
ready=""
for _ in $(seq 1 240); do
  kill -0 "$service" 2>/dev/null || { cat "$work/service.log"; die "the service ended"; }
  if in_image "${health[@]}" >"$work/health.log" 2>&1; then ready=yes; break; fi
  sleep 0.25
done
[ -n "$ready" ] || { cat "$work/service.log" "$work/health.log"; die "HEALTHCHECK never passed"; }
echo "healthy after $((($(date +%s%N) - started) / 1000000)) ms"

python3 - "$work/probe.wav" <<'PY'
import math, struct, sys, wave
with wave.open(sys.argv[1], "wb") as out:
    out.setparams((1, 2, 16000, 0, "NONE", ""))
    out.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(n / 9))) for n in range(32000)))
PY
python3 - "$work/probe.wav" "$port" <<'PY' || { cat "$work/service.log"; die "POST /vad"; }
import json, sys, urllib.request
body = open(sys.argv[1], "rb").read()
url = f"http://127.0.0.1:{sys.argv[2]}/vad"
with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "audio/wav"})) as answer:
    told = json.load(answer)
assert told["audio"]["duration_ms"] == 2000, told
assert isinstance(told["segments"], list), told
print("POST /vad:", json.dumps(told["segments"]), told["model"])
PY

kill -TERM "$service"
status=0
wait "$service" || status=$?
trap - EXIT
[ "$status" = 0 ] || { cat "$work/service.log"; die "SIGTERM: status $status"; }
say "green: $dockerfile, $size_mb MB"
