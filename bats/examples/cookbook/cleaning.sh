#!/usr/bin/env bash
# A compressed csv to clean, compressed ndjson; what can't be read goes aside.
set -euo pipefail

ssource raw.csv.gz -s 'id int, amount decimal(10,2), at timestamp' --bad bad.ndjson -q |
  smap -w 'amount > 0' '*, at::date as day' |
  ssink clean.ndjson.zst
