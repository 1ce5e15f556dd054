#!/usr/bin/env bash
# Clicks with the impression of the same ad that came in the ten minutes before.
set -euo pipefail

ssource clicks.ndjson -t at |
  sjoin -k 'user, ad' --within -10m,0s <(ssource impressions.ndjson -t at) |
  smap 'user, ad, at as clicked, at - right_at as after' |
  ssink -f csv
