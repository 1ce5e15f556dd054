# Runnel: one non-recursive Makefile.  Objects live in build/<variant>/, so that release and
# sanitizer builds stand side by side:   make   make SAN=address,undefined   make check
#
#   make               the programs, in build/bin/
#   make demo          install what the build needs, build, run a pipeline over the flights
#   make check         every test, then every test again under ASan and UBSan
#   make test          every test, this variant only
#   make chaos         jobs under fire: kill -9, hundreds of times; the output must be the same
#   make bench         side by side with the peers that are installed; tables in build/bench/
#   make fuzz          the fuzz targets, FUZZ_SECONDS each (needs clang)
#   make tidy          clang-format check, clang-tidy, mandoc -Tlint
#   make install       PREFIX= DESTDIR= PROGRAM_PREFIX=
#
# Respected: CC CFLAGS CPPFLAGS LDFLAGS SAN V=1 BUILD= WERROR=1

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

PREFIX ?= /usr/local
CC ?= cc
ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS ?= -O3 -g
SAN ?=
BUILD ?= build
comma := ,
VARIANT := $(if $(SAN),san-$(subst $(comma),-,$(SAN)),release)
O := $(BUILD)/$(VARIANT)
BIN := $(if $(SAN),$(O)/bin,$(BUILD)/bin)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual -Wvla \
	-Wundef -Wformat=2 -Wno-unused-parameter $(if $(WERROR),-Werror)
sanitize := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
PACKAGES := libmicrohttpd libarchive zlib libzstd liblz4 libxxhash libpcre2-8
HEAVY := rdkafka libpq libcurl avro-c jansson snappy
TLS := libssl libcrypto
include build-deps.mk

all_cppflags = -I. -D_GNU_SOURCE $(PKG_CFLAGS) $(CPPFLAGS)
all_cflags = -std=gnu17 $(WARNINGS) $(sanitize) $(CFLAGS)
link_libs = -Wl,--as-needed $(PKG_LIBS) -lm

core_src := $(sort $(wildcard libcore/*/*.c) $(wildcard formats/*.c) $(wildcard connect/*.c) \
	$(wildcard cmd/common/*.c))
programs := $(sort $(patsubst cmd/%/main.c,%,$(wildcard cmd/*/main.c)))
core_obj := $(core_src:%.c=$(O)/%.o)
lib := $(O)/librunnel.a
cmd_obj = $(patsubst %.c,$(O)/%.o,$(wildcard cmd/$(1)/*.c))
bins := $(programs:%=$(BIN)/%)

# Programs that reach brokers and databases have a twin, which links what those need: a program that
# reads a file starts without it (cmd/common/connected.h).
LIBEXEC := $(BIN:%bin=%libexec)/runnel
connected := ssource ssink sjoin
heavy_obj := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard connect/heavy/*.c formats/heavy/*.c)))
relay_obj := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard connect/tls/*.c)))
twins := $(connected:%=$(LIBEXEC)/%) $(if $(relay_obj),$(LIBEXEC)/tls)

quiet := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

.PHONY: all
all: $(bins) $(twins)

# Rebuilt when the flags change: the stamp holds them, and every object depends on it.
flags := $(CC) $(all_cflags) $(all_cppflags) $(programs)
$(O)/flags: FORCE
	$(quiet)mkdir -p $(@D)
	$(quiet)printf '%s\n' '$(subst ','\'',$(flags))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(flags))' > $@
.PHONY: FORCE
FORCE:

$(O)/%.o: %.c $(O)/flags
	$(quiet)mkdir -p $(@D)
	$(call say,CC,$<)
	$(quiet)$(CC) $(all_cppflags) $(all_cflags) -MMD -MP -c -o $@ $<

$(lib): $(core_obj)
	$(call say,AR,$@)
	$(quiet)rm -f $@
	$(quiet)ar rcs $@ $^

define program_rule
$(BIN)/$(1): $(call cmd_obj,$(1)) $(lib)
	$$(quiet)mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(quiet)$(CC) $(sanitize) $(CFLAGS) $(LDFLAGS) -o $$@ $$(filter %.o,$$^) $(lib) $(link_libs)
endef
$(foreach p,$(programs),$(eval $(call program_rule,$(p))))

define twin_rule
$(LIBEXEC)/$(1): $(call cmd_obj,$(1)) $(call cmd_obj,$(1)/connected) $(heavy_obj) $(lib)
	$$(quiet)mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(quiet)$(CC) $(sanitize) $(CFLAGS) $(LDFLAGS) -o $$@ $$(filter %.o,$$^) $(lib) $(link_libs) \
		$(HEAVY_LIBS)
endef
$(foreach p,$(connected),$(eval $(call twin_rule,$(p))))

$(LIBEXEC)/tls: $(relay_obj) $(lib)
	$(quiet)mkdir -p $(@D)
	$(call say,LD,$@)
	$(quiet)$(CC) $(sanitize) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(lib) $(link_libs) \
		$(TLS_LIBS)

# What is taken for a stage.
$(O)/cmd/common/process.o: all_cppflags += -DSTAGE_PROGRAMS='"$(filter-out runnel sctl,$(programs))"'

# RIGHT may be a file: sjoin opens it as ssource would, and smerge what it merges.
$(BIN)/sjoin $(LIBEXEC)/sjoin $(BIN)/smerge: $(filter-out %/main.o,$(call cmd_obj,ssource))

# sctl asks over the supervisor's socket, reads its checkpoints, and shows jobs as it does.
sctl_obj := $(patsubst %,$(O)/cmd/runnel/%.o,server status status_export checkpoint)
$(BIN)/sctl: $(sctl_obj)

# ---- tests ----
tests := $(sort $(wildcard tests/*_test.c))
test_bins := $(tests:tests/%.c=$(O)/tests/%)
test_support := $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/support/*.c)))
$(O)/tests/%: $(O)/tests/%.o $(test_support) $(lib)
	$(call say,LD,$@)
	$(quiet)$(CC) $(sanitize) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(lib) $(link_libs) \
		-lcmocka

# msgpack-c is the oracle of ours.
$(O)/tests/msgpack_test: link_libs += -lmsgpackc

$(O)/tests/tools/kafka: link_libs += $(HEAVY_LIBS)

# Parts of programs that are tested by themselves.
$(O)/tests/nexmark_test $(O)/tests/bench/nexmark_ndjson: $(O)/cmd/ssource/nexmark.o
$(O)/tests/savepoint_test: $(O)/cmd/runnel/savepoint.o
$(O)/tests/notify_test: $(O)/cmd/runnel/notify.o
$(O)/tests/plot_test: $(O)/cmd/speek/plot.o
$(O)/tests/status_test: $(O)/cmd/runnel/status.o $(O)/cmd/runnel/status_export.o
$(O)/tests/server_test: $(O)/cmd/runnel/server.o
$(O)/tests/metrics_test: $(O)/cmd/runnel/metrics.o
$(O)/tests/backoff_test: $(O)/cmd/runnel/backoff.o
$(O)/tests/coordinator_test: $(O)/cmd/runnel/coordinator.o $(O)/cmd/runnel/checkpoint.o

# Tests of an operator take it in without its main.
$(O)/tests/window_test: $(filter-out %/main.o,$(call cmd_obj,swindow))
$(O)/tests/source_test $(O)/tests/live_test $(O)/tests/split_test $(O)/tests/sink_restore_test: $(filter-out %/main.o,$(call cmd_obj,ssource))
$(O)/tests/bench/window_bench: $(filter-out %/main.o,$(call cmd_obj,swindow))
$(O)/tests/sort_test: $(filter-out %/main.o,$(call cmd_obj,ssort))
$(O)/tests/join_test $(O)/tests/join_changes_test $(O)/tests/bench/join_bench: $(filter-out %/main.o,$(call cmd_obj,sjoin))

operators = $(foreach p,smap smatch swindow sjoin smerge speek ssort ssource,$(filter-out %/main.o,$(call cmd_obj,$(p))))
$(O)/tests/simulation_test: $(operators)

.PHONY: tests
tests: $(test_bins)

-include $(wildcard $(O)/libcore/*/*.d $(O)/formats/*.d $(O)/formats/*/*.d $(O)/connect/*.d \
	$(O)/connect/*/*.d $(O)/cmd/*/*.d $(O)/cmd/*/*/*.d $(O)/tests/*.d $(O)/tests/*/*.d)
.PRECIOUS: $(O)/%.o

# ---- everything that is run ----

# The fuzz targets over their seeds, through a plain driver: no clang needed.
fuzzers := $(sort $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c)))
$(O)/fuzz/%: $(O)/tests/fuzz/%_fuzz.o $(O)/tests/fuzz/driver.o $(lib)
	$(quiet)mkdir -p $(@D)
	$(call say,LD,$@)
	$(quiet)$(CC) $(sanitize) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(lib) $(link_libs)

# PostgreSQL's values and messages, which need none of its library.
postgres_src := $(patsubst %,connect/heavy/postgres_%.c,types take put numeric copy pgoutput)
$(O)/fuzz/pgoutput $(O)/tests/postgres_values_test: $(postgres_src:%.c=$(O)/%.o)

avro_src := $(wildcard connect/heavy/avro_*.c)
$(O)/fuzz/avro: $(avro_src:%.c=$(O)/%.o)
$(O)/fuzz/avro: link_libs += $(HEAVY_LIBS)

# The parser of patterns is smatch's own.
pattern_src := cmd/smatch/pattern.c
$(O)/fuzz/pattern: $(pattern_src:%.c=$(O)/%.o)

# Preloaded by tests: the n-th write or allocation fails.
fault := $(BUILD)/fault.so
$(fault): tests/fault/fault.c
	$(quiet)mkdir -p $(@D)
	$(call say,LD,$@)
	$(quiet)$(CC) -std=gnu17 -D_GNU_SOURCE $(WARNINGS) -O1 -shared -fPIC -o $@ $< -ldl

# One pass of every test over this variant; prints "N passed, N failed" at the end.
.PHONY: test
test: all tests $(fault) $(fuzzers:%=$(O)/fuzz/%) $(O)/tests/tools/pipeline_words \
		$(O)/tests/tools/kafka
	@BIN=$(BIN) FAULT_SO=$(fault) PIPELINE_WORDS=$(O)/tests/tools/pipeline_words KAFKA_TOOL=$(CURDIR)/$(O)/tests/tools/kafka \
		tests/run --unit '$(test_bins)' --fuzz '$(fuzzers:%=$(O)/fuzz/%)'

.PHONY: check
check:
	@tests/check $(MAKE)

# Jobs killed hundreds of times, for CHAOS_SECONDS; as long with a broker that is killed, too; then two
# of ten minutes that are killed every few seconds.
CHAOS_SECONDS ?= 600
.PHONY: chaos
chaos: all $(fault) $(O)/tests/tools/kafka
	@BIN=$(BIN) FAULT_SO=$(fault) tests/chaos --seconds $(CHAOS_SECONDS)
	@BIN=$(BIN) FAULT_SO=$(fault) KAFKA_TOOL=$(O)/tests/tools/kafka tests/chaos --seconds $(CHAOS_SECONDS) --only topic
	@BIN=$(BIN) FAULT_SO=$(fault) tests/chaos --only 'a session' --length 600 --pause 1,5 --seconds 1

.PHONY: bench
benches := $(sort $(wildcard tests/bench/*.c))
bench_bins := $(benches:tests/bench/%.c=$(O)/tests/bench/%)
bench: all $(bench_bins) $(O)/tests/tools/kafka
	@BIN=$(BIN) BENCH=$(O)/tests/bench tests/bench/run $(BUILD)/bench
	@BIN=$(BIN) BENCH=$(O)/tests/bench tests/bench/supervised $(BUILD)/bench
	@BIN=$(BIN) MEASURE=$(O)/tests/bench/measure tests/bench/nexmark $(BUILD)/bench
	@BIN=$(BIN) tests/bench/match
	@BIN=$(BIN) tests/bench/follow
	@BIN=$(BIN) tests/bench/postgres
	@BIN=$(BIN) tests/bench/sockets
	@BIN=$(BIN) KAFKA_TOOL=$(O)/tests/tools/kafka tests/bench/kafka

# libFuzzer needs clang and its run-time library (libclang-rt-dev).
FUZZ_SECONDS ?= 300
FUZZ_TARGETS ?= $(fuzzers)
.PHONY: fuzz
fuzz:
	@tests/fuzz/run '$(FUZZ_SECONDS)' '$(FUZZ_TARGETS)' '$(BUILD)/fuzz' \
		'$(core_src) $(postgres_src) $(avro_src) $(pattern_src)' \
		'$(subst ',,$(all_cppflags)) -DSTAGE_PROGRAMS=' '$(PKG_LIBS) $(HEAVY_LIBS)'

.PHONY: tidy
sources := $(wildcard libcore/*/*.[ch] formats/*.[ch] formats/*/*.[ch] connect/*.[ch] \
	connect/*/*.[ch] cmd/*/*.[ch] cmd/*/*/*.[ch] tests/*.[ch] tests/*/*.[ch])
tidy:
	mandoc -Tlint -Wwarning man/*
	clang-tidy --quiet $(core_src) $(wildcard cmd/*/*.c) -- $(all_cppflags) -std=gnu17

.PHONY: deps
deps:
	@./build-deps.sh

.PHONY: demo
demo: deps
	@$(MAKE) --no-print-directory all
	@BIN=$(BIN) bats/examples/demo

# ---- installing ----
PROGRAM_PREFIX ?=
bindir = $(DESTDIR)$(PREFIX)/bin
libexecdir = $(DESTDIR)$(PREFIX)/libexec/runnel
mandir = $(DESTDIR)$(PREFIX)/share/man
bashdir = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zshdir = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
fishdir = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
.PHONY: install
install: all
	install -d $(bindir) $(mandir)/man1 $(mandir)/man5 $(mandir)/man7 $(bashdir) $(zshdir) \
		$(fishdir)
	for p in $(programs); do \
		install -m 755 $(BIN)/$$p $(bindir)/$(PROGRAM_PREFIX)$$p && \
		install -m 644 man/$$p.1 $(mandir)/man1/$(PROGRAM_PREFIX)$$p.1 && \
		$(BIN)/$$p --complete bash | \
			sed 's/ $$/ $(PROGRAM_PREFIX)/; s/^\(complete .*\) \([a-z]*\)$$/\1 $(PROGRAM_PREFIX)\2/' \
			> $(bashdir)/$(PROGRAM_PREFIX)$$p && \
		$(BIN)/$$p --complete zsh | sed '1s/ / $(PROGRAM_PREFIX)/' \
			> $(zshdir)/_$(PROGRAM_PREFIX)$$p && \
		$(BIN)/$$p --complete fish | sed 's/^complete -c /&$(PROGRAM_PREFIX)/' \
			> $(fishdir)/$(PROGRAM_PREFIX)$$p.fish || exit 1; done
	install -d $(libexecdir)
	install -m 755 $(twins) $(libexecdir)/
	install -m 644 man/*.5 $(mandir)/man5/
	install -m 644 man/*.7 $(mandir)/man7/

.PHONY: clean
clean:
	rm -rf $(BUILD)
