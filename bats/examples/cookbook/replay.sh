#!/usr/bin/env bash
# What passes an edge is a file that can be asked again.
set -euo pipefail

ssource access.log --regex '^(?<ip>\S+) .* HTTP[^"]*" (?<status>\d+)' | ssink edge.frames
ssource edge.frames | swindow -k status 'count(*) as n' | ssort status | ssink -f csv
