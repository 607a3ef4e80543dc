#!/bin/sh
# A whole collection on this machine, for a recogniser in the morning. usage: overnight.sh SOURCE DEST
# One row per file in DEST/segments-*.jsonl, and the clips of each file in DEST/files. Run the same command again to
# continue after a stop. A file that cannot be read has a row with the reason, and makes the exit status 1.
set -eu
# The program of the clone that this lies in, where none is installed.
program=$(command -v fsmn-vad) || program=$(dirname "$0")/../.venv/bin/fsmn-vad
[ -x "$program" ] || { echo "overnight.sh needs fsmn-vad: make install EXTRAS=batch in the clone" >&2; exit 2; }
"$program" batch "${1:?usage: overnight.sh SOURCE DEST}" "${2:?usage: overnight.sh SOURCE DEST}" \
  --preset asr --per-file clips --shard-files 256
