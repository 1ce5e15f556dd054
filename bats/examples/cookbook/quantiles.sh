#!/usr/bin/env bash
# How long the endpoints take: half of the requests, and all but one in a hundred.
set -euo pipefail

ssource access.log --regex '"(?<method>\S+) (?<path>[^ ?"]+)[^"]*" .* (?<seconds>[0-9.]+)$' |
  swindow -k path 'count(*) as n, median(seconds) as half, quantile(seconds, 0.99) as most' |
  ssort 'most desc' |
  ssink -f csv
