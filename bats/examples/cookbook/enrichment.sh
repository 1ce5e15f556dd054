#!/usr/bin/env bash
# Orders with the name and country of the customer, from a csv; unknown ones stay.
set -euo pipefail

ssource orders.csv |
  sjoin -k 'customer = id' --kind left customers.csv |
  smap 'order_id, customer, name, country, amount' |
  ssink -f csv
