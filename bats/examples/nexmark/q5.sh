#!/usr/bin/env bash
# Nexmark, query 5.  Hot items: of the last ten seconds, every two, the auctions with the
# most bids.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -s 'auction int, dateTime timestamp' -t dateTime $delay |
  swindow --hop 10s,2s -k auction 'count(*) as num' |
  ssort -k window_end -n 1 --ties 'num desc' |
  smap 'auction, num, window_end' |
  ssink -f $format $out
