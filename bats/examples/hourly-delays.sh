#!/usr/bin/env bash
# Hours in which flights left an airport more than 75 minutes late on average.
set -euo pipefail
data=${data:-tests/data}

ssource "$data/flights-2013-01.csv.zst" --null NA --time time_hour |
  smap -w 'dep_delay is not null' 'origin, dep_delay, time_hour' |
  swindow --tumble 1h -k origin 'count(*) as n, avg(dep_delay) as delay' |
  smap -w 'n >= 5 and delay > 75' \
    'origin, window_start as hour, n, round(delay, 1) as delay' |
  ssink -f table
