#!/usr/bin/env bash
# The weather that flights left in: each flight with the latest observation at
# its airport, then by airport and sky.
set -euo pipefail
data=${data:-tests/data}

ssource "$data/flights-2013-01.csv.zst" --null NA --time time_hour |
  sjoin -k origin --as-of --tolerance 2h \
    <(ssource "$data/weather-2013-01.csv" --null NA --time time_hour) |
  swindow -k "origin, case when visib < 1 then 'fog'
                           when visib < 5 then 'haze'
                           else 'clear' end as sky" \
    'count(*) as flights, round(avg(dep_delay), 1) as delay,
     round(100.0 * avg(dep_time is null), 1) as cancelled_percent' |
  ssink -f table
