#!/usr/bin/env bash
# Days, by New York's clock, on which more than one flight in thirty was
# cancelled.
set -euo pipefail
data=${data:-tests/data}

ssource "$data/flights-2013-01.csv.zst" --null NA --time time_hour |
  swindow --tumble 24h --offset 5h 'count(*) as flights,
    count(*) filter (where dep_time is null) as cancelled' |
  smap -w '30 * cancelled > flights' \
    'window_start::date as day, flights, cancelled,
     round(100.0 * cancelled / flights, 1) as percent' |
  ssink -f table
