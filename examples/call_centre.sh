#!/bin/sh
# Who speaks when in a stereo call: the agent on the left, the customer on the right. usage: call_centre.sh FILE [URL]
# Each channel is detected by itself, so lines may overlap. The last line is the share of each speaker.
set -eu
file=${1:?usage: call_centre.sh FILE [URL]}
url=${2:-http://localhost:8000}
curl -fsS -F "file=@$file" "$url/vad?preset=telephone&channel=split" | jq -r '
  ["agent", "customer"] as $who
  | (.segments[] | "\($who[.channel]) \(.start_ms) \(.end_ms)"),
    ([.channels[] | "\($who[.channel]) \(.speech_ratio)"] | "share " + join(" "))'
