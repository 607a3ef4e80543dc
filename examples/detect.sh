#!/bin/sh
# Segments of a file as "start_ms end_ms" lines. usage: detect.sh FILE [URL]
set -eu
file=${1:?usage: detect.sh FILE [URL]}
curl -fsS -F "file=@$file" "${2:-http://localhost:8000}/vad" | jq -r '.segments[] | "\(.start_ms) \(.end_ms)"'
