#!/usr/bin/env bash
# The mean of the last seven readings, and the change against the one before.
set -euo pipefail

ssource kitchen.csv -t at |
  swindow --over 7 'avg(celsius) as smooth, celsius - lag(celsius) as change' |
  ssink -f csv
