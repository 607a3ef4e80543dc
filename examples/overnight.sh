#!/bin/sh
# A whole collection on this machine, for a recogniser in the morning. usage: overnight.sh SOURCE DEST
# One row a file in DEST/segments-*.jsonl, and for each file its clips in DEST/files. The same command goes on where it
# was stopped; files that cannot be read have a row that says why, and make the exit status 1.
set -eu
fsmn-vad batch "${1:?usage: overnight.sh SOURCE DEST}" "${2:?usage: overnight.sh SOURCE DEST}" \
  --preset asr --per-file clips --shard-files 256
