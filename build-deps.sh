#!/bin/sh
# Installs what building and testing need, where this may be done; else prints the line that does.
set -eu
build="gcc make pkg-config libmicrohttpd-dev libarchive-dev zlib1g-dev libzstd-dev liblz4-dev libxxhash-dev libpcre2-dev librdkafka-dev libpq-dev libcurl4-openssl-dev libavro-dev libjansson-dev libsnappy-dev libssl-dev zstd tzdata"
test="libcmocka-dev libmsgpack-dev bats python3 python3-msgpack mandoc jq zip libarchive-tools lz4 xz-utils bzip2 sqlite3 bsdextrautils procps zsh fish openssl kcat postgresql"
packages=$build
[ "${1:-}" = --test ] && packages="$build $test"

missing=
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
line="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
	sudo=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
	sudo=sudo
else
	echo "missing packages; install them with:" >&2
	echo "  sudo $line" >&2
	exit 1
fi
echo "installing:$missing"
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo $line >/dev/null 2>&1 || {
	$sudo apt-get update -q >/dev/null 2>&1 || true
	DEBIAN_FRONTEND=noninteractive $sudo $line >/dev/null
}
