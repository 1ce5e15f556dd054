#include "cmd/ssink/connected/kafka_epochs.h"

#include "libcore/base/buf.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/number.h"

#include <inttypes.h>
#include <string.h>

enum { MAKE_MS = 15000 };

void kafka_epochs_clear(struct kafka_epochs *s)
{
	for (size_t i = 0; i < s->len; i++)
		mem_free(s->items[i].stage);
	mem_free(s->items);
	*s = (struct kafka_epochs){.items = NULL};
}

static struct kafka_epoch *find(const struct kafka_epochs *s, const char *stage, uint64_t subtask)
{
	for (size_t i = 0; i < s->len; i++) {
		if (s->items[i].subtask == subtask && strcmp(s->items[i].stage, stage) == 0)
			return &s->items[i];
	}
	return NULL;
}

bool kafka_epochs_has(const struct kafka_epochs *s, const char *stage, uint64_t subtask)
{
	return find(s, stage, subtask) != NULL;
}

uint64_t kafka_epochs_find(const struct kafka_epochs *s, const char *stage, uint64_t subtask)
{
	const struct kafka_epoch *x = find(s, stage, subtask);

	return x ? x->epoch : 0;
}

void kafka_epochs_set(struct kafka_epochs *s, const char *stage, uint64_t subtask, uint64_t epoch)
{
	struct kafka_epoch *x = find(s, stage, subtask);

	if (!x) {
		MEM_GROW(s->items, s->cap, s->len + 1);
		x = &s->items[s->len++];
		*x = (struct kafka_epoch){.stage = mem_strdup(stage), .subtask = subtask};
	}
	x->epoch = epoch;
}

char *kafka_epochs_key(const char *job, const char *stage, uint64_t subtask)
{
	return mem_printf("%s/%s/%" PRIu64, job, stage, subtask);
}

/* ---- the topic ---- */

static int create(struct kafka *k, const char *topic, struct error *e)
{
	rd_kafka_t *rk = kafka_handle(k);
	char why[256] = "";
	rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(topic, 1, -1, why, sizeof why);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
	int64_t since_us = clock_mono_us();
	rd_kafka_event_t *event = NULL;
	int status = 0;

	if (!t) {
		rd_kafka_queue_destroy(queue);
		return error_set(e, ERROR_USAGE, "%s: %s", topic, why);
	}
	rd_kafka_NewTopic_set_config(t, "cleanup.policy", "compact");
	rd_kafka_CreateTopics(rk, &t, 1, NULL, queue);
	while (status == 0 && !event && clock_mono_us() - since_us < MAKE_MS * 1000LL) {
		event = rd_kafka_queue_poll(queue, KAFKA_SLICE_MS);
		if (!event)
			status = kafka_wait(k, since_us, e);
	}
	if (event) {
		const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(
			event);
		size_t n = 0;
		const rd_kafka_topic_result_t **topics =
			result ? rd_kafka_CreateTopics_result_topics(result, &n) : NULL;

		err = rd_kafka_event_error(event);
		if (!err && n)
			err = rd_kafka_topic_result_error(topics[0]);
		rd_kafka_event_destroy(event);
	}
	if (status == 0 && err && err != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		status = kafka_error(k, err, topic, e);
	rd_kafka_NewTopic_destroy(t);
	rd_kafka_queue_destroy(queue);
	return status;
}

/* Waits until it is known, also to the client. */
static int look(struct kafka *k, const char *topic, struct error *e)
{
	int64_t since_us = clock_mono_us();
	int32_t partitions;

	while (kafka_partitions(k, topic, &partitions, e) < 0) {
		bool is_new = e->code == ERROR_USAGE &&
			      clock_mono_us() - since_us < MAKE_MS * 1000LL;

		if (!is_new)
			return -1;
		error_clear(e);
		if (kafka_wait(k, since_us, e) < 0)
			return -1;
	}
	return 0;
}

int kafka_epochs_make(struct kafka *k, const char *topic, struct error *e)
{
	return create(k, topic, e) < 0 ? -1 : look(k, topic, e);
}

/* ---- reading ---- */

static int open_reader(const struct kafka_target *target, const char *isolation,
	const struct kafka_wait *wait, struct kafka **out, struct error *e)
{
	const struct kafka_property properties[] = {{"group.id", "runnel-epochs", false},
		{"enable.auto.commit", "false", true}, {"isolation.level", isolation, true},
		{"auto.offset.reset", "earliest", true}, {"enable.partition.eof", "true", true},
		{NULL, NULL, false}};
	struct kafka_setup setup = {.target = target,
		.type = RD_KAFKA_CONSUMER,
		.properties = properties,
		.wait = *wait};

	return kafka_open(&setup, out, e);
}

/* Where the topic ends, whatever is still open in it. */
static int find_end(const struct kafka_target *target, const char *topic,
	const struct kafka_wait *wait, int64_t *begin, int64_t *end, struct error *e)
{
	int64_t since_us = clock_mono_us();
	struct kafka *k;
	rd_kafka_resp_err_t err;
	int status;

	if (open_reader(target, "read_uncommitted", wait, &k, e) < 0)
		return -1;
	do {
		err = rd_kafka_query_watermark_offsets(
			kafka_handle(k), topic, 0, begin, end, 4 * KAFKA_SLICE_MS);
		status = err ? kafka_wait(k, since_us, e) : 0;
	} while (err && status == 0 &&
		 (kafka_may_pass(err) || err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
			 err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION));
	if (err && status == 0)
		status = kafka_error(k, err, topic, e);
	kafka_close(k);
	return status;
}

/* A record of this job: job/stage/subtask. */
static void take_record(struct kafka_epochs *s, const char *job, const rd_kafka_message_t *m)
{
	size_t job_len = strlen(job);
	char *key = mem_strndup(m->key_len ? m->key : "", m->key_len);
	char *slash = strrchr(key, '/');
	uint64_t subtask, epoch;

	if (m->payload && slash && strncmp(key, job, job_len) == 0 && key[job_len] == '/' &&
		slash > key + job_len &&
		uint_parse(slash + 1, strlen(slash + 1), &subtask) == NUMBER_OK &&
		uint_parse(m->payload, m->len, &epoch) == NUMBER_OK) {
		*slash = '\0';
		kafka_epochs_set(s, key + job_len + 1, subtask, epoch);
	}
	mem_free(key);
}

static int read_to(struct kafka_epochs *s, struct kafka *k, const char *topic, const char *job,
	int64_t end, const struct kafka_wait *wait, struct error *e)
{
	rd_kafka_topic_partition_list_t *at = rd_kafka_topic_partition_list_new(1);
	int status = 0;
	int64_t position = 0;

	rd_kafka_topic_partition_list_add(at, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(kafka_handle(k), at);
	while (status == 0 && position < end) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(kafka_handle(k), KAFKA_SLICE_MS);

		if (m && !m->err) {
			take_record(s, job, m);
			position = m->offset + 1;
		} else if (m && m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
			position = m->offset; /* behind the marks of transactions, too, which are no
						 messages */
		} else if (m && m->err && !kafka_may_pass(m->err)) {
			status = kafka_error(k, m->err, topic, e);
		}
		if (m)
			rd_kafka_message_destroy(m);
		if (status == 0 && (kafka_poll(k, e) < 0 ||
					   (wait->alive && wait->alive(wait->context, e) < 0)))
			status = -1;
	}
	rd_kafka_topic_partition_list_destroy(at);
	return status;
}

int kafka_epochs_read(struct kafka_epochs *s, const struct kafka_target *target, const char *topic,
	const char *job, const struct kafka_wait *wait, struct error *e)
{
	int64_t begin = 0, end = 0;
	struct kafka *k;
	int status;

	kafka_epochs_clear(s);
	if (find_end(target, topic, wait, &begin, &end, e) < 0)
		return -1;
	if (begin >= end)
		return 0;
	if (open_reader(target, "read_committed", wait, &k, e) < 0)
		return -1;
	status = read_to(s, k, topic, job, end, wait, e);
	kafka_close(k);
	return status;
}
