#!/usr/bin/env bash
# The share that every country has in the total.
set -euo pipefail

ssource orders.csv |
  sjoin -k 'customer = id' customers.csv |
  swindow -k country 'sum(amount) as amount' |
  swindow --over group '100 * amount / sum(amount) as percent' |
  ssort 'percent desc' |
  ssink -f csv
