#!/usr/bin/env bash
# A day as it goes on: flights and minutes lost since midnight in New York.
set -euo pipefail
data=${data:-tests/data}

ssource "$data/flights-2013-01.csv.zst" --null NA --time time_hour |
  smap -w "time_hour between timestamp '2013-01-31 05:00:00'
                         and timestamp '2013-02-01 04:59:59'" |
  swindow --cumulate 24h,4h --offset 5h \
    'count(*) as flights, sum(greatest(dep_delay, 0)) as minutes_lost' |
  ssink
