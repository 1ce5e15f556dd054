#!/usr/bin/env bash
# Requests a minute, as the log is being written: each update as it comes.
set -euo pipefail

ssource --follow live.log --regex '^(?<at>\S+) (?<level>\S+)' -t at --idle 5s |
  swindow --tumble 1m -k level --emit changes 'count(*) as n' |
  ssink -f ndjson
