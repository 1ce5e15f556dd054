#!/usr/bin/env bash
# One pass, two results: failed requests as they are, and a count for every path.
set -euo pipefail

ssource access.log --regex '^(?<ip>\S+) .*"(?<method>\S+) (?<path>[^ ?"]+)[^"]*" (?<status>\d+)' |
  stee "smap -w 'status >= 500' | ssink failed.csv" |
  swindow -k path 'count(*) as n' |
  ssink paths.csv
