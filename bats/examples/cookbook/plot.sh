#!/usr/bin/env bash
# A curve in the terminal.
set -euo pipefail

ssource kitchen.csv -t at |
  speek --plot celsius |
  ssink null:
