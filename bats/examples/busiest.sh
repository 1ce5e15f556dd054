#!/usr/bin/env bash
# The busiest three hours of each day of the first week: windows of three
# hours, a new one every hour; of those that end on a day, the fullest.
set -euo pipefail
data=${data:-tests/data}

ssource "$data/flights-2013-01.csv.zst" --null NA --time time_hour |
  swindow --hop 3h,1h -k origin 'count(*) as n' |
  swindow --tumble 24h --offset 5h 'max(n) as flights,
    arg_max(origin, n) as origin, arg_max(window_end, n) as until' |
  smap -w "window_start < timestamp '2013-01-08 05:00:00'" \
    "window_start::date as day, flights, origin,
     until - interval '3 hours' as since, until" |
  ssink -f table
