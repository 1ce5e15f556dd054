#!/usr/bin/env bash
# Nexmark, query 18.  The last bid of everybody on every auction.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -t dateTime $delay -s 'auction int, bidder int,
    price int, channel string, url string, dateTime timestamp, extra string' |
  ssort -k 'bidder, auction' -n 1 'dateTime desc' |
  ssink -f $format $out
