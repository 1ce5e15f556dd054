#!/usr/bin/env bash
# Nexmark, query 0.  Every bid as it is: what a record costs by itself.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -t dateTime $delay -s 'auction int, bidder int, price int,
    dateTime timestamp, extra string' |
  ssink -f $format $out
