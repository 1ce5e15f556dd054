#!/usr/bin/env bash
# Makes what the queries read: data.sh DIRECTORY [EVENTS [SEED [EVENTS A SECOND]]]
set -euo pipefail
directory=$1
events="events=${2:-100000}&seed=${3:-0}&rate=${4:-1000}"

mkdir -p "$directory"
for kind in bid auction person; do
	ssource "nexmark:$kind?$events" | ssink "$directory/$kind.ndjson"
done
{ echo key,value; for i in {0..9999}; do echo "$i,side-$i"; done; } > "$directory/side.csv"
