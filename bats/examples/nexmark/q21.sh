#!/usr/bin/env bash
# Nexmark, query 21.  Bids with the channel's number, from its name or from the URL.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/bid.ndjson -t dateTime $delay -s 'auction int, bidder int, price int,
    channel string, url string, dateTime timestamp' |
  smap "*, case lower(channel)
       when 'apple' then '0' when 'google' then '1'
       when 'facebook' then '2' when 'baidu' then '3'
       else regexp_extract(url, '(&|^)channel_id=([^&]*)', 2) end as channel_id" |
  smap -w 'channel_id is not null' 'auction, bidder, price, channel, channel_id' |
  ssink -f $format $out
