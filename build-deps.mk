# What the build needs, found with pkg-config; a missing one names the package to install.
PKG_CONFIG ?= pkg-config
deb_libmicrohttpd := libmicrohttpd-dev
deb_libarchive := libarchive-dev
deb_zlib := zlib1g-dev
deb_libzstd := libzstd-dev
deb_liblz4 := liblz4-dev
deb_libxxhash := libxxhash-dev
deb_libpcre2-8 := libpcre2-dev
deb_rdkafka := librdkafka-dev
deb_libpq := libpq-dev
deb_libcurl := libcurl4-openssl-dev
deb_avro-c := libavro-dev
deb_jansson := libjansson-dev
deb_snappy := libsnappy-dev
deb_libssl := libssl-dev
deb_libcrypto := libssl-dev

goals_without_build := clean demo deps
ifneq ($(filter-out $(goals_without_build),$(or $(MAKECMDGOALS),all)),)
ifeq ($(shell command -v $(PKG_CONFIG)),)
$(error pkg-config is missing: run "make demo", or: apt-get install pkg-config)
endif
missing := $(foreach p,$(PACKAGES) $(HEAVY) $(TLS),$(if $(shell $(PKG_CONFIG) --exists $(p) || echo no),$(deb_$(p))))
ifneq ($(strip $(missing)),)
$(error missing libraries: run "make demo", or: apt-get install $(sort $(missing)))
endif
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PACKAGES) $(HEAVY) $(TLS))
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PACKAGES))
HEAVY_LIBS := $(shell $(PKG_CONFIG) --libs $(HEAVY))
TLS_LIBS := $(shell $(PKG_CONFIG) --libs $(TLS))
endif
