#!/usr/bin/env bash
# What must hold before a version is tagged: one version everywhere, a dated changelog entry, and a wheel and an sdist that
# carry page and licence and run from an empty environment. `make release-check` calls it; PYTHON and TOOLS come from there.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-python3}
tools=${TOOLS:-.tools}
port=${VERIFY_PORT:-18420}
die() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
holds() { "$python" -c 'import sys,tarfile,zipfile; p,w=sys.argv[1:]; n=tarfile.open(p).getnames() if p.endswith("gz") else zipfile.ZipFile(p).namelist(); sys.exit(not any(x.endswith(w) for x in n))' "$1" "$2" || die "$1 has no $2"; }

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' app/__init__.py)
grep -qE "^## \[$version\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md || die "CHANGELOG.md has no dated entry for $version"
grep -q "fsmn-vad:$version$" docker/compose.yaml || die "docker/compose.yaml names another version"
grep -q "newTag: $version$" deploy/kustomize/base/kustomization.yaml || die "deploy/kustomize names another version"

[ -x "$tools/bin/pip" ] || "$python" -m venv "$tools"
"$tools/bin/pip" install -q --disable-pip-version-check build
rm -rf dist/release && mkdir -p dist/release
"$tools/bin/python" -m build --outdir dist/release . >dist/release/build.log 2>&1 || { tail -30 dist/release/build.log; die "build"; }
for package in dist/release/*.whl dist/release/*.tar.gz; do
  holds "$package" LICENSE
  holds "$package" app/vad/models/fsmn/network.py
  [ ! -f web/package.json ] || holds "$package" app/web/static/index.html
done

empty=$(mktemp -d)
service=""
trap '[ -z "$service" ] || kill "$service" 2>/dev/null || true; rm -rf "$empty"' EXIT
"$python" -m venv "$empty/venv"
"$empty/venv/bin/pip" install -q --disable-pip-version-check -c constraints.txt dist/release/*.whl
models=${MODELSCOPE_CACHE:-models}
[ ! -d "$models" ] || models=$(cd "$models" && pwd)
cd "$empty"
MODELSCOPE_CACHE=$models VAD_PORT=$port "$empty/venv/bin/fsmn-vad" serve >"$empty/log" 2>&1 &
service=$!
for _ in $(seq 1 240); do
  kill -0 "$service" 2>/dev/null || { cat "$empty/log"; die "the service from the wheel ended"; }
  VAD_PORT=$port "$empty/venv/bin/fsmn-vad" health >/dev/null 2>&1 && break
  sleep 0.25
done
VAD_PORT=$port "$empty/venv/bin/fsmn-vad" health || { cat "$empty/log"; die "never ready"; }
kill -TERM "$service"
wait "$service" || die "SIGTERM: exit status $?"
service=""
echo "ready to release: $version"
