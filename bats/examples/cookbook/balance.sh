#!/usr/bin/env bash
# The balance of every account after each booking.
set -euo pipefail

ssource bookings.csv -s 'account string, at timestamp, amount decimal(12,2)' -t at |
  swindow --over all -k account 'sum(amount) as balance' |
  ssink -f csv
