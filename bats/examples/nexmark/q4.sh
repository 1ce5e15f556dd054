#!/usr/bin/env bash
# Nexmark, query 4.  The average winning price of every category: the highest bid of each
# auction while it is open.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
emit=${emit:-}
join=${join:-}

ssource $live $data/bid.ndjson -s 'auction int, price int, dateTime timestamp' |
  sjoin -k 'auction = id' -w 'dateTime between right_dateTime and expires' $join \
    <(ssource $live $data/auction.ndjson -s 'id int, category int, dateTime timestamp,
      expires timestamp') |
  swindow -k 'auction, category' $emit 'max(price) as final' |
  swindow -k category $emit 'avg(final) as final' |
  ssink -f $format $out
