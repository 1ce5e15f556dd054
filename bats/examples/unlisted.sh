#!/usr/bin/env bash
# Destinations that the list of airports doesn't know.
set -euo pipefail
data=${data:-tests/data}

ssource "$data/flights-2013-01.csv.zst" --null NA |
  sjoin -k 'dest = faa' --kind anti "$data/airports.csv" |
  swindow -k dest 'count(*) as flights, count(distinct origin) as origins' |
  ssink -f csv
