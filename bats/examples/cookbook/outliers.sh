#!/usr/bin/env bash
# Readings more than three standard deviations off those of the hour before.
set -euo pipefail

ssource cellar.csv -t at |
  swindow --over 1h --exclude-current 'avg(celsius) as mean, stddev(celsius) as deviation' |
  smap -w 'abs(celsius - mean) > 3 * deviation' |
  ssink -f csv
