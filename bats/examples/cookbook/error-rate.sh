#!/usr/bin/env bash
# The share of failed requests in every hour of an nginx log.
set -euo pipefail

ssource access.log --regex '\[(?<at>[^]]+)\] "(?<method>\S+) (?<path>[^ ?"]+)[^"]*" (?<status>\d+)' |
  smap "strptime(at, '%d/%b/%Y:%H:%M:%S %z') as at, status" --assign-time at |
  swindow --tumble 1h 'count(*) as requests, avg(status >= 500) as failed' |
  ssink -f csv
