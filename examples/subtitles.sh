#!/bin/sh
# Timed lines to write subtitles into, SubRip beside the file. usage: subtitles.sh FILE [URL]
set -eu
file=${1:?usage: subtitles.sh FILE [URL]}
curl -fsS -F "file=@$file" "${2:-http://localhost:8000}/vad?preset=subtitles&format=srt" -o "${file%.*}.srt"
echo "${file%.*}.srt"
