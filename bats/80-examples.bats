#!/usr/bin/env bats
# The pipelines in bats/examples, which README and the manuals show.  Each NAME.sh gives NAME.out,
# which tests/examples_oracle.py checks against SQLite.  RENEW=1 writes what they give now.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$root"
	out="$BATS_TEST_TMPDIR/out" errors="$BATS_TEST_TMPDIR/errors"
}

gives() { # gives NAME: the example's standard output, nothing else, status 0
	local status=0
	"bats/examples/$1.sh" >"$out" 2>"$errors" || status=$?
	cat "$errors"
	[ "$status" -eq 0 ]
	[ ! -s "$errors" ]
	[ -z "${RENEW:-}" ] || cp "$out" "bats/examples/$1.out"
	diff "bats/examples/$1.out" "$out"
}

@test "every example has a test here" {
	for file in bats/examples/*.sh; do
		grep -q "gives $(basename "$file" .sh)\$" "$BATS_TEST_FILENAME" || { echo "$file"; false; }
	done
}

@test "hours in which an airport ran late (filter, tumble)" {
	gives hourly-delays
}

@test "carriers by name (group, join with a file)" {
	gives carriers
}

@test "the weather that flights left in (as-of join)" {
	gives weather
}

@test "planes at work (sessions)" {
	gives legs
}

@test "planes whose delay grows leg by leg (pattern)" {
	gives delays
}

@test "days with many cancelled flights (tumble with an offset)" {
	gives cancelled
}

@test "who built the planes (equal-key join)" {
	gives manufacturers
}

@test "destinations that no list has (anti join)" {
	gives unlisted
}

@test "every day's busiest hours (hop, then windows of windows)" {
	gives busiest
}

@test "a day as it goes on (cumulate)" {
	gives so-far
}

@test "the tour in the manual shows every example as it is" {
	mandoc -Tascii -O width=120 man/runnel.7 | col -bx >"$out"
	for file in bats/examples/*.sh; do
		sed -n '/^ssource/,$p' "$file" | sed 's|"$data/\([^"]*\)"|tests/data/\1|g' >"$errors"
		python3 - "$out" "$errors" "$file" <<-'END'
		import sys
		page, text = (open(f, encoding="utf-8").read() for f in sys.argv[1:3])
		flat = lambda t: [line.strip() for line in t.splitlines()]
		page, text = flat(page), flat(text)
		assert any(page[i:i + len(text)] == text for i in range(len(page))), sys.argv[3]
		END
	done
}

@test "the demo shows its pipelines and their rows" {
	bats/examples/demo >"$out" 2>"$errors"
	[ ! -s "$errors" ]
	grep -q 'swindow --tumble 1h -k origin' "$out"
	grep -qxF "$(tail -n 1 bats/examples/hourly-delays.out)" "$out"
	grep -qxF "$(tail -n 1 bats/examples/weather.out)" "$out"
}

@test "README shows an example as it is, and its rows" {
	sed -n '/^ssource/,$p' bats/examples/weather.sh |
		sed 's|"$data/\([^"]*\)"|tests/data/\1|g; s/^/    /' >"$out"
	sed 's/^/    /' bats/examples/weather.out >>"$out"
	while IFS= read -r line; do
		grep -qxF -- "$line" README.md || { echo "README lacks: $line"; false; }
	done <"$out"
	[ "$(wc -l <"$out")" -gt 10 ]
}

@test "README shows what goes elsewhere as it is" {
	for file in best.job capture.job edge.job collect.job cookbook/fraud.sh; do
		python3 - "bats/examples/$file" <<-'END'
		import sys
		text = open(sys.argv[1], encoding="utf-8").read()
		pipeline = text[text.index("ssource"):]
		shown = "".join("    " + line + "\n" for line in pipeline.splitlines())
		assert shown in open("README.md", encoding="utf-8").read(), "README shows another " + sys.argv[1]
		END
	done
}

@test "README shows the job as it is, and the commands of the script that kills it" {
	sed 's/^/    /' bats/examples/bids.job >"$out"
	[ "$(wc -l <"$out")" -ge 4 ]
	python3 - "$out" <<-'END'
	import sys
	readme, job = (open(f, encoding="utf-8").read() for f in ("README.md", sys.argv[1]))
	assert job in readme, "README shows another job"
	shown = [line[6:] for line in readme.splitlines() if line.startswith("    $ ")]
	told = [line[5:-2] for line in open("bats/examples/recovery") if line.startswith("say '")]
	assert len(told) == 6 and shown[-6:] == told, (shown, told)
	END
}
