#!/usr/bin/env bash
# The carriers by name: flights, the mean delay, the worst and where it went.
set -euo pipefail
data=${data:-tests/data}

ssource "$data/flights-2013-01.csv.zst" --null NA |
  swindow -k carrier 'count(*) as flights, round(avg(dep_delay), 1) as mean,
    max(dep_delay) as worst, arg_max(dest, dep_delay) as dest' |
  sjoin -k carrier "$data/airlines.csv" |
  smap 'name, * except (name, carrier)' |
  ssink -f table
