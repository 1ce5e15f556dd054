#!/usr/bin/env bash
# A card that is tried out: a small payment, then two large ones or more, all within ten minutes.
set -euo pipefail

ssource payments.csv -t at |
  smatch -k card --pattern 'SMALL LARGE{2,}' --within 10m \
    --define 'SMALL: amount < 2; LARGE: amount > 100 * SMALL.amount and amount > 200' \
    'first(at) as begun, count(LARGE.*) as payments, sum(LARGE.amount) as taken' |
  ssink -f csv
