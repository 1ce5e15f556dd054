#!/usr/bin/env bash
# Three sensors side by side: the mean of every minute, each with its own pace.
set -euo pipefail

ssource --merge kitchen.csv cellar.csv attic.csv -t at -d 10s --filename sensor |
  swindow --tumble 1m -k sensor 'avg(celsius) as celsius, count(*) as n' |
  ssink -f csv
