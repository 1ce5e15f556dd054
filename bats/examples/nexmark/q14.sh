#!/usr/bin/env bash
# Nexmark, query 14.  Middling bids, the time of day, and a count of letters.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -t dateTime $delay -s 'auction int, bidder int, price int,
    dateTime timestamp, extra string' |
  smap -w '0.908 * price > 1000000 and 0.908 * price < 50000000' \
    "auction, bidder, 0.908 * price as price,
     case when extract(hour from dateTime) between 8 and 18 then 'dayTime'
          when extract(hour from dateTime) <= 6 or extract(hour from dateTime) >= 20
            then 'nightTime'
          else 'otherTime' end as bidTimeType,
     dateTime, extra, length(extra) - length(replace(extra, 'c', '')) as c_counts" |
  ssink -f $format $out
