#!/usr/bin/env bash
# Planes at work: a spell is what a plane flies out of New York, no more than
# twelve hours from one departure to the next.  The longest ones.
set -euo pipefail
data=${data:-tests/data}

ssource "$data/flights-2013-01.csv.zst" --null NA |
  smap -w 'dep_time is not null' --assign-time leaves \
    "tailnum, dest, distance,
     time_hour + minute * interval '1 minute' as leaves" |
  swindow --session 12h -k tailnum \
    'count(*) as legs, first(dest) as first, last(dest) as last,
     sum(distance) as miles' |
  smap -w 'legs >= 8' \
    'tailnum, window_start as since, legs, first, last, miles' |
  ssink -f table
