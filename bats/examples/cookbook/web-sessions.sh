#!/usr/bin/env bash
# Visits: requests of one address no further than half an hour apart.
set -euo pipefail

ssource access.log --regex '^(?<ip>\S+) .*\[(?<at>[^]]+)\] "(?<method>\S+) (?<path>[^ ?"]+)' |
  smap "ip, path, strptime(at, '%d/%b/%Y:%H:%M:%S %z') as at" --assign-time at |
  swindow --session 30m -k ip 'count(*) as pages, first(path) as entry, last(path) as exit,
    max(at) - min(at) as stayed' |
  ssink -f csv
