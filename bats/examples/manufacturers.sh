#!/usr/bin/env bash
# Who built the planes that flew: flights, planes, seats, the oldest plane.
set -euo pipefail
data=${data:-tests/data}

ssource "$data/flights-2013-01.csv.zst" --null NA |
  smap -w 'dep_time is not null' 'tailnum' |
  sjoin -k tailnum <(ssource "$data/planes.csv" --null NA) |
  swindow -k manufacturer 'count(*) as flights,
    count(distinct tailnum) as planes, sum(seats) as seats,
    min(year) as oldest' |
  smap -w 'flights >= 100' |
  ssink -f table
