#!/usr/bin/env bash
# Nexmark, query 8.  People who open an auction in the ten seconds in which they came.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
delay=${delay:-}

ssource $live $data/person.ndjson -s 'id int, name string, dateTime timestamp' -t dateTime $delay |
  swindow --tumble 10s -k 'id, name' |
  sjoin -k 'id = seller' --tumble 10s \
    <(ssource $live $data/auction.ndjson -s 'seller int, dateTime timestamp' -t dateTime $delay |
      swindow --tumble 10s -k seller) |
  smap 'id, name, window_start as starttime' |
  ssink -f $format $out
