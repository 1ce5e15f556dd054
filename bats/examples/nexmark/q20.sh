#!/usr/bin/env bash
# Nexmark, query 20.  Bids on auctions of category 10, with all there is to say of those.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
join=${join:-}

ssource $live $data/bid.ndjson -s 'auction int, bidder int,
    price int, channel string, url string, dateTime timestamp, extra string' |
  sjoin -k 'auction = id' $join <(ssource $live $data/auction.ndjson -s 'id int, itemName string,
      description string, initialBid int, reserve int, dateTime timestamp,
      expires timestamp, seller int, category int, extra string' |
    smap -w 'category = 10') |
  smap 'auction, bidder, price, channel, url, dateTime as bid_dateTime, extra as bid_extra, itemName,
    description, initialBid, reserve, right_dateTime as auction_dateTime, expires, seller,
    category, right_extra as auction_extra' |
  ssink -f $format $out
