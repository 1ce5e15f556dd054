#!/usr/bin/env bash
# Planes whose delay grows leg by leg: four departures or more, each later than
# planned by more minutes than the one before, no more than a day between two.
set -euo pipefail
data=${data:-tests/data}

ssource "$data/flights-2013-01.csv.zst" --null NA |
  smap -w 'dep_delay is not null' --assign-time leaves \
    "tailnum, dest, dep_delay,
     time_hour + minute * interval '1 minute' as leaves" |
  smatch -k tailnum --pattern 'ON_TIME WORSE{3,}' \
    --define "WORSE: dep_delay > prev(dep_delay) and leaves - prev(leaves) <= interval '1 day'" \
    'first(leaves) as since, count(*) as legs, first(dep_delay) as at_first,
     last(dep_delay) as at_last, last(dest) as last' |
  smap -w 'at_last - at_first >= 180' |
  ssort 'since, tailnum' |
  ssink -f table
