#!/usr/bin/env bash
# The latest state of every device.
set -euo pipefail

ssource devices.ndjson |
  ssort -k id -n 1 'at desc' |
  ssink -f csv
