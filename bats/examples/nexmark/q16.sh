#!/usr/bin/env bash
# Nexmark, query 16.  The same by channel, with the last minute of the day.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
emit=${emit:-}

ssource $live $data/bid.ndjson -s 'auction int, bidder int, price int, channel string,
    dateTime timestamp' |
  swindow -k "channel, strftime(dateTime, '%Y-%m-%d') as day" $emit \
    "max(strftime(dateTime, '%H:%M')) as minute,
     count(*) as total_bids,
     count(*) filter (where price < 10000) as rank1_bids,
     count(*) filter (where price >= 10000 and price < 1000000) as rank2_bids,
     count(*) filter (where price >= 1000000) as rank3_bids,
     count(distinct bidder) as total_bidders,
     count(distinct bidder) filter (where price < 10000) as rank1_bidders,
     count(distinct bidder) filter (where price >= 10000 and price < 1000000) as rank2_bidders,
     count(distinct bidder) filter (where price >= 1000000) as rank3_bidders,
     count(distinct auction) as total_auctions,
     count(distinct auction) filter (where price < 10000) as rank1_auctions,
     count(distinct auction) filter (where price >= 10000 and price < 1000000) as rank2_auctions,
     count(distinct auction) filter (where price >= 1000000) as rank3_auctions" |
  ssink -f $format $out
