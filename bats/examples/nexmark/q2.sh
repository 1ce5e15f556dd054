#!/usr/bin/env bash
# Nexmark, query 2.  Bids on some of the auctions.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}

ssource $live $data/bid.ndjson -s 'auction int, price int' |
  smap -w 'auction % 123 = 0' |
  ssink -f $format $out
