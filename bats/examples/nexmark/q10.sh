#!/usr/bin/env bash
# Nexmark, query 10.  Every bid into files by day and minute.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -t dateTime $delay -s 'auction int, bidder int, price int,
    dateTime timestamp, extra string' |
  smap "*, strftime(dateTime, '%Y-%m-%d') as dt, strftime(dateTime, '%H:%M') as hm" |
  ssink -f $format --partition dt,hm ${out:-bids}/
