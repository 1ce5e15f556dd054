#!/usr/bin/env bash
# Nexmark, query 12.  How many bids somebody makes in ten seconds.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -s 'bidder int, dateTime timestamp' -t dateTime $delay |
  swindow --tumble 10s -k bidder 'count(*) as bid_count' |
  smap 'bidder, bid_count, window_start as starttime, window_end as endtime' |
  ssink -f $format $out
