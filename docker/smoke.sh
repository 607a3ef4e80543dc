#!/usr/bin/env bash
# Starts an image that was built, the way compose.yaml does (read-only, no capabilities), waits until it is healthy and asks
# it for segments. Needs a Docker engine; without one, docker/verify.sh does the same in a chroot.
set -euo pipefail

image=${1:?usage: docker/smoke.sh IMAGE}
port=${SMOKE_PORT:-18418}
name=fsmn-vad-smoke-$$
trap 'docker rm -f "$name" >/dev/null 2>&1 || true' EXIT

docker run -d --name "$name" --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
  -v "$name-models:/models" -p "127.0.0.1:$port:8000" "$image" >/dev/null
for _ in $(seq 1 120); do
  state=$(docker inspect -f '{{.State.Health.Status}}' "$name")
  [ "$state" = healthy ] && break
  sleep 2
done
[ "$state" = healthy ] || { docker logs "$name"; echo "never became healthy: $state" >&2; exit 1; }

docker exec "$name" python3 -c '
import sys, wave
with wave.open(sys.stdout.buffer, "wb") as out:
    out.setparams((1, 2, 16000, 16000, "NONE", ""))
    out.writeframesraw(bytes(32000))
' | curl -fsS --data-binary @- -H 'Content-Type: audio/wav' "http://127.0.0.1:$port/vad"
echo
docker stop -t 30 "$name" >/dev/null
status=$(docker inspect -f '{{.State.ExitCode}}' "$name")
docker volume rm "$name-models" >/dev/null 2>&1 || true
[ "$status" = 0 ] || { echo "SIGTERM: exit status $status" >&2; exit 1; }
