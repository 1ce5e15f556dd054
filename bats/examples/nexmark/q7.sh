#!/usr/bin/env bash
# Nexmark, query 7.  The highest bid of every ten seconds: bids joined to the greatest
# price of a window, up to its very end.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -t dateTime $delay -s 'auction int, price int, bidder int,
    dateTime timestamp, extra string' |
  sjoin -k 'price = top' --within -1us,9999999us \
    <(ssource $live $data/bid.ndjson -s 'price int, dateTime timestamp' -t dateTime $delay |
      swindow --tumble 10s 'max(price) as top') |
  smap 'auction, price, bidder, dateTime, extra' |
  ssink -f $format $out
