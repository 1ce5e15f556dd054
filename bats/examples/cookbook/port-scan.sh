#!/usr/bin/env bash
# Who tries one port after the other: eight in rising order, no more than two seconds apart.
set -euo pipefail

ssource scans.log --regex '^(?<at>\S+) .*SRC=(?<src>\S+) .*DPT=(?<port>\d+)' -s 'at timestamp, src string, port int' -t at |
  smatch -k src --pattern 'FIRST NEXT{7,}' \
    --define "NEXT: port > prev(port) and at - prev(at) <= interval '2 seconds'" \
    'first(at) as since, count(*) as ports, FIRST.port as lowest, last(NEXT.port) as highest' |
  ssink -f csv
