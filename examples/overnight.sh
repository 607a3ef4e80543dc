#!/bin/sh
# A whole collection on this machine, for a recogniser in the morning. usage: overnight.sh SOURCE DEST
# One row a file in DEST/segments-*.jsonl, and for each file its clips in DEST/files. The same command goes on where it
# was stopped; files that cannot be read have a row that says why, and make the exit status 1.
set -eu
# The program of the clone that this lies in, where none is installed.
program=$(command -v fsmn-vad) || program=$(dirname "$0")/../.venv/bin/fsmn-vad
[ -x "$program" ] || { echo "overnight.sh needs fsmn-vad: make install EXTRAS=batch in the clone" >&2; exit 2; }
"$program" batch "${1:?usage: overnight.sh SOURCE DEST}" "${2:?usage: overnight.sh SOURCE DEST}" \
  --preset asr --per-file clips --shard-files 256
