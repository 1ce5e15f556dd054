#!/usr/bin/env bash
# Nexmark, query 13.  Bids with a value from a table that is read first.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -t dateTime $delay -s 'auction int, bidder int, price int,
    dateTime timestamp' |
  smap '*, auction % 10000 as side' |
  sjoin -k 'side = key' --static $data/side.csv |
  smap 'auction, bidder, price, dateTime, value' |
  ssink -f $format $out
