#!/usr/bin/env bash
# Nexmark, query 19.  The ten highest bids of every auction.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -t dateTime $delay -s 'auction int, bidder int,
    price int, channel string, url string, dateTime timestamp, extra string' |
  ssort -k auction -n 10 --number rank_number 'price desc' |
  ssink -f $format $out
