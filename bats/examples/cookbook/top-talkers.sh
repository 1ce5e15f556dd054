#!/usr/bin/env bash
# Who sends most of what the firewall drops, and to how many ports.
set -euo pipefail

ssource firewall.log --regex 'SRC=(?<src>\S+) .*LEN=(?<bytes>\d+) .*DPT=(?<port>\d+)' --bad skip -q |
  swindow -k src 'count(*) as packets, sum(bytes) as bytes, count(distinct port) as ports' |
  ssort -n 5 'bytes desc' |
  ssink -f csv
