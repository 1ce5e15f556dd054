#!/usr/bin/env bash
# Nexmark, query 3.  Who sells in category 10 and lives in Oregon, Idaho or California: a
# join of two streams by key.
set -euo pipefail
data=${data:-.}
format=${format:-csv}
live=${live:-}
out=${out:-}
join=${join:-}

ssource $live $data/auction.ndjson -s 'id int, seller int, category int' |
  smap -w 'category = 10' 'id, seller' |
  sjoin -k 'seller = id' $join \
    <(ssource $live $data/person.ndjson -s 'id int, name string, city string, state string' |
      smap -w "state in ('OR', 'ID', 'CA')") |
  smap 'name, city, state, id' |
  ssink -f $format $out
