#!/usr/bin/env bash
# Nexmark, query 9.  The winning bid of every auction: the highest, of equal ones the
# first, while it is open.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
join=${join:-}

ssource $live $data/bid.ndjson -s 'auction int, bidder int, price int, dateTime timestamp,
    extra string' |
  sjoin -k 'auction = id' -w 'dateTime between right_dateTime and expires' $join \
    <(ssource $live $data/auction.ndjson -s 'id int, itemName string,
      description string, initialBid int, reserve int, dateTime timestamp,
      expires timestamp, seller int, category int, extra string') |
  ssort -k auction -n 1 'price desc, dateTime' |
  smap 'auction as id, itemName, description, initialBid, reserve, right_dateTime as dateTime,
    expires, seller, category, right_extra as extra, auction, bidder, price,
    dateTime as bid_dateTime, extra as bid_extra' |
  ssink -f $format $out
