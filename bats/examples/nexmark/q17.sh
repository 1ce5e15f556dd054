#!/usr/bin/env bash
# Nexmark, query 17.  A day of every auction: how many bids of which price, and the least,
# the most, the mean, the sum.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
emit=${emit:-}

ssource $live $data/bid.ndjson -s 'auction int, price int, dateTime timestamp' |
  swindow -k "auction, strftime(dateTime, '%Y-%m-%d') as day" $emit 'count(*) as total_bids,
     count(*) filter (where price < 10000) as rank1_bids,
     count(*) filter (where price >= 10000 and price < 1000000) as rank2_bids,
     count(*) filter (where price >= 1000000) as rank3_bids,
     min(price) as min_price, max(price) as max_price, avg(price) as avg_price,
     sum(price) as sum_price' |
  ssink -f $format $out
