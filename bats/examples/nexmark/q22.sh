#!/usr/bin/env bash
# Nexmark, query 22.  Bids with the directories of the URL.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -t dateTime $delay -s 'auction int, bidder int, price int,
    channel string, url string, dateTime timestamp' |
  smap "auction, bidder, price, channel, split_part(url, '/', 4) as dir1,
     split_part(url, '/', 5) as dir2, split_part(url, '/', 6) as dir3" |
  ssink -f $format $out
