#include "connect/heavy/kafka.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/number.h"
#include "libcore/base/suggest.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	TOPIC_NAME_MAX = 249, /* Kafka's own limit */
	TROUBLE_BYTES = 512,
	VALUE_BYTES = 512,
	NAMES_MAX = 1024, /* topics among which one is suggested */
	POLL_EVENTS_MAX = 64,
	CLOSE_SECONDS = 3,
	PAUSE_MS = 20, /* before what failed at once is tried again */
};

struct kafka {
	rd_kafka_t *rk;
	char *brokers;
	struct kafka_wait wait;
	void *context;
	bool has_heard; /* an answer of any broker, ever */
	bool is_away;
	enum error_code fatal; /* what won't go away */
	char trouble[TROUBLE_BYTES];
};

/* ---- where ---- */

static int check_topic(const struct kafka_target *t, struct error *e)
{
	const char *name = t->topic;

	if (!*name)
		return error_set(e, ERROR_USAGE, "%s: which topic? kafka://broker/topic", t->shown);
	for (const char *p = name; *p; p++) {
		if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
			return error_set(e, ERROR_USAGE,
				"%s: a topic's name has letters, digits, . _ and - only", t->shown);
	}
	if (strlen(name) > TOPIC_NAME_MAX || !strcmp(name, ".") || !strcmp(name, ".."))
		return error_set(e, ERROR_USAGE, "%s: that can't be a topic's name", t->shown);
	return 0;
}

static int put_brokers(struct kafka_target *t, struct buf *out, struct error *e)
{
	for (size_t i = 0; i < t->url.hosts_len; i++) {
		const struct url_host *h = &t->url.hosts[i];
		bool is_ipv6 = strchr(h->name, ':') != NULL;

		if (!*h->name)
			return error_set(
				e, ERROR_USAGE, "%s: a broker's name is missing", t->shown);
		buf_printf(out, is_ipv6 ? "%s[%s]" : "%s%s", i ? "," : "", h->name);
		if (h->port >= 0)
			buf_printf(out, ":%d", h->port);
	}
	if (!t->url.hosts_len)
		return error_set(
			e, ERROR_USAGE, "%s: which broker? kafka://broker/topic", t->shown);
	return 0;
}

int kafka_target_parse(const char *text, struct kafka_target *out, struct error *e)
{
	struct buf safe = BUF_INIT, brokers = BUF_INIT;
	int status;

	memset(out, 0, sizeof *out);
	url_put_safe(text, &safe);
	out->shown = mem_strdup(buf_cstr(&safe));
	status = url_parse(text, &out->url, e);
	if (status == 0) {
		out->topic = out->url.path ? out->url.path : "";
		status = put_brokers(out, &brokers, e);
	}
	if (status == 0)
		status = check_topic(out, e);
	out->brokers = mem_strdup(buf_cstr(&brokers));
	buf_clear(&safe);
	buf_clear(&brokers);
	if (status < 0)
		kafka_target_clear(out);
	return status;
}

void kafka_target_clear(struct kafka_target *t)
{
	url_clear(&t->url);
	mem_free(t->shown);
	mem_free(t->brokers);
	*t = (struct kafka_target){.shown = NULL};
}

/* ---- properties ---- */

/* Adds what librdkafka knows a name for that is called alike. */
static void suggest_property(const char *name, struct error *e)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	const char **names;
	const char **pairs;
	size_t n = 0;
	int best;

	pairs = rd_kafka_conf_dump(conf, &n);
	names = mem_alloc((n / 2 + 1) * sizeof *names);
	for (size_t i = 0; i < n / 2; i++)
		names[i] = pairs[2 * i];
	best = suggest(name, strlen(name), names, n / 2);
	if (best >= 0)
		error_hint(e, "did you mean '%s'?", names[best]);
	mem_free(names);
	rd_kafka_conf_dump_free(pairs, n);
	rd_kafka_conf_destroy(conf);
}

static int set_property(const struct kafka_target *t, rd_kafka_conf_t *conf, const char *name,
	const char *value, struct error *e)
{
	char why[TROUBLE_BYTES] = "";

	switch (rd_kafka_conf_set(conf, name, value, why, sizeof why)) {
	case RD_KAFKA_CONF_OK: return 0;
	case RD_KAFKA_CONF_UNKNOWN:
		error_set(e, ERROR_USAGE, "%s: there is no property '%s' of Kafka's clients",
			t->shown, name);
		suggest_property(name, e);
		return -1;
	case RD_KAFKA_CONF_INVALID: break;
	}
	/* The reason would show the value. */
	return error_set(e, ERROR_USAGE, "%s: %s", t->shown,
		url_name_is_secret(name) ? "a secret that the property can't have" : why);
}

static const struct kafka_property *find_property(
	const struct kafka_property *properties, const char *name)
{
	for (; properties->name; properties++) {
		if (strcmp(properties->name, name) == 0)
			return properties;
	}
	return NULL;
}

static int set_user(const struct kafka_target *t, rd_kafka_conf_t *conf, struct error *e)
{
	if (!t->url.user)
		return 0;
	if (!t->url.password)
		return error_set(e, ERROR_USAGE, "%s: a user without a password", t->shown);
	return set_property(t, conf, "security.protocol", "sasl_ssl", e) < 0 ||
			       set_property(t, conf, "sasl.mechanism", "PLAIN", e) < 0 ||
			       set_property(t, conf, "sasl.username", t->url.user, e) < 0 ||
			       set_property(t, conf, "sasl.password", t->url.password, e) < 0
		       ? -1
		       : 0;
}

static int set_properties(const struct kafka_setup *s, rd_kafka_conf_t *conf, struct error *e)
{
	const struct kafka_target *t = s->target;

	if (set_property(t, conf, "bootstrap.servers", t->brokers, e) < 0 ||
		set_user(t, conf, e) < 0)
		return -1;
	for (const struct kafka_property *p = s->properties; p && p->name; p++) {
		if (set_property(t, conf, p->name, p->value, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < t->url.properties_len; i++) {
		const struct url_property *u = &t->url.properties[i];
		const struct kafka_property *own = s->properties
							   ? find_property(s->properties, u->name)
							   : NULL;

		if (u->taken)
			continue;
		if ((own && own->fixed && strcmp(own->value, u->value) != 0) ||
			strcmp(u->name, "bootstrap.servers") == 0)
			return error_set(
				e, ERROR_USAGE, "%s: %s can't be set here", t->shown, u->name);
		if (set_property(t, conf, u->name, u->value, e) < 0)
			return -1;
	}
	return 0;
}

int64_t kafka_property_int(const struct kafka *k, const char *name)
{
	const rd_kafka_conf_t *conf = rd_kafka_conf(k->rk);
	char value[VALUE_BYTES];
	size_t size = sizeof value;
	int64_t n = 0;

	if (rd_kafka_conf_get(conf, name, value, &size) != RD_KAFKA_CONF_OK ||
		int_parse(value, strlen(value), &n) != NUMBER_OK)
		return 0;
	return n;
}

/* ---- errors ---- */

static enum error_code code_of(rd_kafka_resp_err_t err)
{
	switch ((int)err) { /* one of hundreds */
	case RD_KAFKA_RESP_ERR__AUTHENTICATION:
	case RD_KAFKA_RESP_ERR__SSL:
	case RD_KAFKA_RESP_ERR__INVALID_ARG:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
	case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
	case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
	case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
	case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION: return ERROR_USAGE;
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
	case RD_KAFKA_RESP_ERR__BAD_MSG:
	case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_INVALID_RECORD: return ERROR_DATA;
	}
	return ERROR_IO;
}

bool kafka_may_pass(rd_kafka_resp_err_t err)
{
	return code_of(err) == ERROR_IO && err != RD_KAFKA_RESP_ERR__FATAL;
}

int kafka_error(const struct kafka *k, rd_kafka_resp_err_t err, const char *what, struct error *e)
{
	bool with_trouble = kafka_may_pass(err) && *k->trouble;

	return error_set(e, code_of(err), "%s: %s%s%s%s%s", k->brokers, what ? what : "",
		what ? ": " : "", rd_kafka_err2str(err), with_trouble ? "; " : "",
		with_trouble ? k->trouble : "");
}

/* ---- what librdkafka has to say ---- */

/* "sasl_plaintext://127.0.0.1:9092/bootstrap: Connect to ... failed: ..." without what the user
 * can't use. */
static void keep_trouble(struct kafka *k, const char *reason)
{
	const char *text = strstr(reason, "]: ");
	size_t n;

	text = text ? text + strlen("]: ") : reason;
	n = strcspn(text, "\n");
	if (n >= sizeof k->trouble)
		n = sizeof k->trouble - 1;
	memcpy(k->trouble, text, n);
	k->trouble[n] = '\0';
}

/* A broker that goes down in the middle of a handshake looks like one that speaks no TLS. */
static void hear_tls(struct kafka *k, const char *reason)
{
	if (strstr(reason, "certificate"))
		k->fatal = ERROR_USAGE;
	else if (!k->has_heard)
		k->fatal = ERROR_IO;
}

static void hear_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
	struct kafka *k = opaque;
	char why[TROUBLE_BYTES];

	if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		k->is_away = true; /* why each is was said before */
		if (!*k->trouble)
			keep_trouble(k, reason);
		return;
	}
	if (err == RD_KAFKA_RESP_ERR__FATAL) {
		err = rd_kafka_fatal_error(rk, why, sizeof why);
		keep_trouble(k, why);
		k->fatal = code_of((rd_kafka_resp_err_t)err);
		return;
	}
	keep_trouble(k, reason);
	if (err == RD_KAFKA_RESP_ERR__SSL)
		hear_tls(k, reason);
	else if (code_of((rd_kafka_resp_err_t)err) == ERROR_USAGE)
		k->fatal = ERROR_USAGE;
}

int kafka_poll(struct kafka *k, struct error *e)
{
	int n = 0;

	while (n++ < POLL_EVENTS_MAX && rd_kafka_poll(k->rk, 0) > 0)
		;
	if (!k->fatal)
		return 0;
	return error_set(e, k->fatal, "%s: %s", k->brokers, k->trouble);
}

bool kafka_is_away(const struct kafka *k)
{
	return k->is_away;
}

const char *kafka_trouble(const struct kafka *k)
{
	return k->trouble;
}

void kafka_heard(struct kafka *k)
{
	k->has_heard = true;
	k->is_away = false;
	k->trouble[0] = '\0';
}

int kafka_wait(struct kafka *k, int64_t since_us, struct error *e)
{
	int64_t waited_ms = (clock_mono_us() - since_us) / 1000;
	bool refuses = k->is_away && !k->has_heard && waited_ms > KAFKA_ALL_DOWN_MS;

	rd_kafka_poll(k->rk, PAUSE_MS);
	if (kafka_poll(k, e) < 0 || (k->wait.alive && k->wait.alive(k->wait.context, e) < 0))
		return -1;
	if (refuses || waited_ms > KAFKA_PATIENCE_MS)
		return error_set(e, ERROR_IO, "%s: no broker answers%s%s", k->brokers,
			*k->trouble ? ": " : "", k->trouble);
	return 0;
}

/* ---- a client ---- */

static bool says(const struct kafka_target *t, const char *name)
{
	for (size_t i = 0; i < t->url.properties_len; i++) {
		if (strcmp(t->url.properties[i].name, name) == 0)
			return true;
	}
	return false;
}

/* The configuration, whose callbacks get k; NULL with the error set. */
static rd_kafka_conf_t *new_conf(const struct kafka_setup *s, struct kafka *k, struct error *e)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	rd_kafka_conf_set_opaque(conf, k);
	rd_kafka_conf_set_error_cb(conf, hear_error);
	if (!says(s->target, "debug"))
		rd_kafka_conf_set_log_cb(conf, NULL);
	if (set_properties(s, conf, e) < 0) {
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	if (s->configure)
		s->configure(conf, s->context);
	return conf;
}

int kafka_check(const struct kafka_setup *s, struct error *e)
{
	rd_kafka_conf_t *conf = new_conf(s, NULL, e);

	if (conf)
		rd_kafka_conf_destroy(conf);
	return conf ? 0 : -1;
}

int kafka_open(const struct kafka_setup *s, struct kafka **out, struct error *e)
{
	struct kafka *k = mem_zero(sizeof *k);
	char why[TROUBLE_BYTES] = "";
	rd_kafka_conf_t *conf;

	k->brokers = mem_strdup(s->target->brokers);
	k->wait = s->wait;
	k->context = s->context;
	conf = new_conf(s, k, e);
	if (!conf) {
		kafka_close(k);
		return -1;
	}
	k->rk = rd_kafka_new(s->type, conf, why, sizeof why);
	if (!k->rk) {
		rd_kafka_conf_destroy(conf);
		error_set(e, ERROR_USAGE, "%s: %s", s->target->shown, why);
		kafka_close(k);
		return -1;
	}
	*out = k;
	return 0;
}

static void *destroy(void *rk)
{
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	return NULL;
}

/* With a group whose coordinator can't be reached, librdkafka would wait for ever.  False: it is
 * still at it, and goes with the process. */
static bool destroy_in_time(rd_kafka_t *rk)
{
	struct timespec until;
	pthread_t thread;

	if (pthread_create(&thread, NULL, destroy, rk)) {
		destroy(rk);
		return true;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += CLOSE_SECONDS;
	if (pthread_timedjoin_np(thread, NULL, &until) == 0)
		return true;
	pthread_detach(thread);
	return false;
}

void kafka_close(struct kafka *k)
{
	if (!k)
		return;
	if (k->rk && !destroy_in_time(k->rk))
		return; /* it may still call back */
	mem_free(k->brokers);
	mem_free(k);
}

rd_kafka_t *kafka_handle(struct kafka *k)
{
	return k->rk;
}

const char *kafka_brokers(const struct kafka *k)
{
	return k->brokers;
}

void *kafka_context(const struct kafka *k)
{
	return k->context;
}

/* ---- topics ---- */

static int unknown_topic(struct kafka *k, const char *topic, struct error *e)
{
	const struct rd_kafka_metadata *all = NULL;
	const char *names[NAMES_MAX];
	size_t n = 0;
	int best;

	error_set(e, ERROR_USAGE, "%s: there is no topic '%s'", k->brokers, topic);
	if (rd_kafka_metadata(k->rk, 1, NULL, &all, 4 * KAFKA_SLICE_MS))
		return -1;
	for (int i = 0; i < all->topic_cnt && n < NAMES_MAX; i++) {
		if (strcmp(all->topics[i].topic, topic) != 0)
			names[n++] = all->topics[i].topic;
	}
	best = suggest(topic, strlen(topic), names, n);
	if (best >= 0)
		error_hint(e, "did you mean '%s'?", names[best]);
	rd_kafka_metadata_destroy(all);
	return -1;
}

static int read_partitions(struct kafka *k, const struct rd_kafka_metadata *found,
	const char *topic, int32_t *out, struct error *e)
{
	for (int i = 0; i < found->topic_cnt; i++) {
		const struct rd_kafka_metadata_topic *t = &found->topics[i];

		if (strcmp(t->topic, topic) != 0)
			continue;
		if (t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
			t->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
			return unknown_topic(k, topic, e);
		if (t->err && kafka_may_pass(t->err))
			return 1;
		if (t->err)
			return kafka_error(k, t->err, topic, e);
		*out = t->partition_cnt;
		return 0;
	}
	return 1;
}

int kafka_look_partitions(
	struct kafka *k, const char *topic, int timeout_ms, int32_t *out, struct error *e)
{
	const struct rd_kafka_metadata *found = NULL;
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(k->rk, topic, NULL);
	rd_kafka_resp_err_t err;
	int status;

	if (!rkt)
		return kafka_error(k, rd_kafka_last_error(), topic, e);
	err = rd_kafka_metadata(k->rk, 0, rkt, &found, timeout_ms);
	rd_kafka_topic_destroy(rkt);
	if (err)
		return kafka_may_pass(err) ? 1 : kafka_error(k, err, topic, e);
	kafka_heard(k);
	status = read_partitions(k, found, topic, out, e);
	rd_kafka_metadata_destroy(found);
	return status;
}

int kafka_partitions(struct kafka *k, const char *topic, int32_t *out, struct error *e)
{
	int64_t since_us = clock_mono_us();
	int status;

	while ((status = kafka_look_partitions(k, topic, KAFKA_SLICE_MS, out, e)) == 1) {
		if (kafka_wait(k, since_us, e) < 0)
			return -1;
	}
	return status;
}

static int64_t read_limit(rd_kafka_event_t *event)
{
	const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(
		event);
	const rd_kafka_ConfigResource_t **topics;
	const rd_kafka_ConfigEntry_t **entries;
	size_t n = 0, len = 0;
	int64_t bytes = 0;

	if (rd_kafka_event_error(event) || !result)
		return 0;
	topics = rd_kafka_DescribeConfigs_result_resources(result, &n);
	if (!n || rd_kafka_ConfigResource_error(topics[0]))
		return 0;
	entries = rd_kafka_ConfigResource_configs(topics[0], &len);
	for (size_t i = 0; i < len; i++) {
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);

		if (value &&
			strcmp(rd_kafka_ConfigEntry_name(entries[i]), "max.message.bytes") == 0 &&
			int_parse(value, strlen(value), &bytes) != NUMBER_OK)
			bytes = 0;
	}
	return bytes;
}

int kafka_topic_limit(struct kafka *k, const char *topic, int64_t *out_bytes, struct error *e)
{
	rd_kafka_ConfigResource_t *asked = rd_kafka_ConfigResource_new(
		RD_KAFKA_RESOURCE_TOPIC, topic);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(k->rk);
	int64_t since_us = clock_mono_us();
	rd_kafka_event_t *event = NULL;
	int status = 0;

	*out_bytes = 0;
	rd_kafka_DescribeConfigs(k->rk, &asked, 1, NULL, queue);
	while (status == 0 && !event) {
		event = rd_kafka_queue_poll(queue, KAFKA_SLICE_MS);
		if (!event)
			status = kafka_wait(k, since_us, e);
	}
	if (event) {
		*out_bytes = read_limit(event);
		rd_kafka_event_destroy(event);
	}
	rd_kafka_queue_destroy(queue);
	rd_kafka_ConfigResource_destroy(asked);
	return status;
}
