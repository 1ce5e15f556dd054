#!/usr/bin/env bash
# Nexmark, query 1.  Every bid with its price in euros.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -t dateTime $delay -s 'auction int, bidder int, price int,
    dateTime timestamp, extra string' |
  smap 'auction, bidder, 0.908 * price as price, dateTime, extra' |
  ssink -f $format $out
