#include "cmd/ssource/connected/kafka.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	LOOK_MS = 100, /* for new partitions; grows while nobody answers so fast */
	LOOK_MS_MAX = 2000,
	MS_US = 1000,
};

/* Small by default: what is fetched ahead is memory, and a stage that lags behind is better off
 * with the broker's.  queued.max.messages.kbytes is of all partitions together (they share a
 * queue); one answer of fetch.max.bytes may come on top. */
static const struct kafka_property properties[] = {
	{"client.id", "runnel", false},
	{"enable.auto.commit", "false", true},
	{"enable.auto.offset.store", "false", true},
	{"enable.partition.eof", "true", true},
	{"auto.offset.reset", "error", true},
	{"isolation.level", "read_committed", false},
	{"queued.max.messages.kbytes", "32768", false},
	{"fetch.max.bytes", "8388608", false},
	{"topic.metadata.refresh.interval.ms", "10000", false},
	{"log.connection.close", "false", false},
	{NULL, NULL, false},
};

static int show_alive(void *context, struct error *e)
{
	return stage_await(context, e);
}

static struct kafka_setup setup_of(const struct kafka_input *in)
{
	return (struct kafka_setup){
		.target = &in->target, .type = RD_KAFKA_CONSUMER, .properties = properties};
}

int kafka_input_check(const struct kafka_input *in, struct error *e)
{
	struct kafka_setup setup = setup_of(in);

	return kafka_check(&setup, e);
}

/* ---- opening ---- */

static int open_queue(struct kafka_reach *r, struct error *e)
{
	const uint64_t one = 1;

	r->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (r->wake_fd < 0)
		return error_errno(e, "eventfd");
	r->topic = rd_kafka_topic_new(kafka_handle(r->client), r->in->target.topic, NULL);
	if (!r->topic)
		return kafka_error(r->client, rd_kafka_last_error(), r->in->target.topic, e);
	r->queue = rd_kafka_queue_new(kafka_handle(r->client));
	rd_kafka_queue_io_event_enable(r->queue, r->wake_fd, &one, sizeof one);
	return 0;
}

int kafka_reach_open(struct kafka_reach *r, const struct kafka_input *in, struct stage *st,
	struct kafka_partitions *parts, struct error *e)
{
	struct kafka_setup setup = setup_of(in);

	*r = (struct kafka_reach){.in = in, .wake_fd = -1, .look_ms = LOOK_MS};
	setup.wait = (struct kafka_wait){.alive = show_alive, .context = st};
	if (kafka_open(&setup, &r->client, e) < 0 || open_queue(r, e) < 0 ||
		kafka_partitions(r->client, in->target.topic, &parts->count, e) < 0)
		return -1;
	r->looked_us = clock_mono_us();
	return 0;
}

static void join_nudge(struct kafka_reach *r)
{
	if (r->has_nudger)
		pthread_join(r->nudger, NULL);
	r->has_nudger = false;
}

/* librdkafka waits for ever for a consumer of a group that wasn't stopped. */
static void stop(struct kafka_reach *r, const struct kafka_partitions *parts)
{
	for (size_t i = 0; i < parts->len; i++) {
		if (parts->items[i]->is_started)
			rd_kafka_consume_stop(r->topic, parts->items[i]->number);
		parts->items[i]->is_started = false;
	}
}

void kafka_reach_close(struct kafka_reach *r, const struct kafka_partitions *parts)
{
	if (!r->client)
		return;
	join_nudge(r);
	if (r->topic)
		stop(r, parts);
	if (r->queue)
		rd_kafka_queue_destroy(r->queue);
	if (r->topic)
		rd_kafka_topic_destroy(r->topic);
	kafka_close(r->client);
	if (r->wake_fd >= 0)
		close(r->wake_fd);
	*r = (struct kafka_reach){.wake_fd = -1};
}

/* ---- asking for offsets ---- */

/* After a question that failed: 0 to ask again. */
static int ask_again(
	struct kafka_reach *r, rd_kafka_resp_err_t err, int64_t since_us, struct error *e)
{
	if (!kafka_may_pass(err))
		return kafka_error(r->client, err, r->in->target.topic, e);
	return kafka_wait(r->client, since_us, e);
}

struct bounds {
	int64_t low, high;
};

/* With read_committed, high is the last stable offset. */
static int ask_bounds(struct kafka_reach *r, int32_t partition, struct bounds *out, struct error *e)
{
	int64_t since_us = clock_mono_us();

	for (;;) {
		rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(kafka_handle(r->client),
			r->in->target.topic, partition, &out->low, &out->high, KAFKA_SLICE_MS);

		if (!err) {
			kafka_heard(r->client);
			return 0;
		}
		if (ask_again(r, err, since_us, e) < 0)
			return -1;
	}
}

/* Fills in the offsets of a list by time, or as the group has committed them. */
static int ask_list(struct kafka_reach *r, rd_kafka_topic_partition_list_t *list, struct error *e)
{
	rd_kafka_t *rk = kafka_handle(r->client);
	int64_t since_us = clock_mono_us();

	for (;;) {
		rd_kafka_resp_err_t err;

		for (int i = 0; i < list->cnt && r->in->from == KAFKA_TIME; i++)
			list->elems[i].offset = r->in->from_ms;
		err = r->in->from == KAFKA_TIME
			      ? rd_kafka_offsets_for_times(rk, list, 4 * KAFKA_SLICE_MS)
			      : rd_kafka_committed(rk, list, 4 * KAFKA_SLICE_MS);
		for (int i = 0; i < list->cnt && !err; i++)
			err = list->elems[i].err;
		if (!err)
			return 0;
		if (ask_again(r, err, since_us, e) < 0)
			return -1;
	}
}

static int settle_one(struct kafka_reach *r, struct kafka_partition *p, bool is_new, int64_t found,
	struct error *e)
{
	bool is_bounded = r->in->is_bounded && p->end == OFFSET_UNKNOWN;
	struct bounds at;

	if (p->next != OFFSET_UNKNOWN && !is_bounded)
		return 0;
	if (ask_bounds(r, p->number, &at, e) < 0)
		return -1;
	if (is_bounded)
		p->end = at.high;
	if (p->next != OFFSET_UNKNOWN)
		return 0;
	p->next = at.low;
	if (is_new)
		return 0;
	switch (r->in->from) {
	case KAFKA_EARLIEST: break;
	case KAFKA_LATEST: p->next = at.high; break;
	case KAFKA_COMMITTED: p->next = found >= 0 ? found : at.low; break;
	case KAFKA_TIME: p->next = found >= 0 ? found : at.high; break;
	}
	return 0;
}

static int64_t find_offset(rd_kafka_topic_partition_list_t *list, const char *topic, int32_t number)
{
	const rd_kafka_topic_partition_t *p = list ? rd_kafka_topic_partition_list_find(
							     list, topic, number)
						   : NULL;

	return p ? p->offset : OFFSET_UNKNOWN;
}

int kafka_reach_settle(
	struct kafka_reach *r, struct kafka_partitions *parts, bool is_new, struct error *e)
{
	bool asks = !is_new && (r->in->from == KAFKA_COMMITTED || r->in->from == KAFKA_TIME);
	rd_kafka_topic_partition_list_t *list = NULL;
	const char *topic = r->in->target.topic;
	int status = 0;

	if (asks)
		list = rd_kafka_topic_partition_list_new((int)parts->len + 1);
	for (size_t i = 0; asks && i < parts->len; i++) {
		if (parts->items[i]->next == OFFSET_UNKNOWN)
			rd_kafka_topic_partition_list_add(list, topic, parts->items[i]->number);
	}
	if (asks && list->cnt)
		status = ask_list(r, list, e);
	for (size_t i = 0; status == 0 && i < parts->len; i++) {
		struct kafka_partition *p = parts->items[i];

		status = settle_one(r, p, is_new, find_offset(list, topic, p->number), e);
	}
	if (list)
		rd_kafka_topic_partition_list_destroy(list);
	return status;
}

/* ---- fetching ---- */

int kafka_reach_start(struct kafka_reach *r, struct kafka_partitions *parts, struct error *e)
{
	for (size_t i = 0; i < parts->len; i++) {
		struct kafka_partition *p = parts->items[i];

		if (p->is_started || kafka_partition_is_over(p))
			continue;
		if (rd_kafka_consume_start_queue(r->topic, p->number, p->next, r->queue) < 0)
			return kafka_error(
				r->client, rd_kafka_last_error(), r->in->target.topic, e);
		p->is_started = true;
	}
	return 0;
}

int kafka_reach_look(
	struct kafka_reach *r, struct kafka_partitions *parts, int64_t mono_us, struct error *e)
{
	int64_t every_us = kafka_property_int(r->client, "topic.metadata.refresh.interval.ms") *
			   MS_US;
	int32_t count;
	int status;

	if (every_us <= 0 || mono_us - r->looked_us < every_us)
		return 0;
	r->looked_us = mono_us;
	status = kafka_look_partitions(r->client, r->in->target.topic, r->look_ms, &count, e);
	if (status == 1 && !kafka_is_away(r->client))
		r->look_ms = 2 * r->look_ms < LOOK_MS_MAX ? 2 * r->look_ms : LOOK_MS_MAX;
	if (status)
		return status < 0 ? -1 : 0;
	if (count > parts->count)
		parts->count = count;
	return 0;
}

/* Any question to a partition's leader wakes the thread that fetches from it; its answer comes
 * behind what is fetched then, so that it is waited for elsewhere. */
static void *ask_leaders(void *context)
{
	struct kafka_reach *r = context;
	int64_t low, high;

	for (size_t i = 0; i < r->nudged_len; i++)
		rd_kafka_query_watermark_offsets(kafka_handle(r->client), r->in->target.topic,
			r->nudged[i], &low, &high, KAFKA_SLICE_MS);
	atomic_store(&r->is_asking, false);
	return NULL;
}

static void nudge(struct kafka_reach *r, const struct kafka_partitions *parts)
{
	sigset_t all, before;

	if (atomic_load(&r->is_asking))
		return;
	join_nudge(r);
	r->nudged_len = 0;
	for (size_t i = 0; i < parts->len && r->nudged_len < KAFKA_NUDGES_MAX; i++) {
		if (parts->items[i]->is_started)
			r->nudged[r->nudged_len++] = parts->items[i]->number;
	}
	atomic_store(&r->is_asking, true);
	sigfillset(&all); /* signals are this thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r->has_nudger = pthread_create(&r->nudger, NULL, ask_leaders, r) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!r->has_nudger)
		atomic_store(&r->is_asking, false);
}

void kafka_reach_nudge(struct kafka_reach *r, const struct kafka_partitions *parts, size_t bytes)
{
	int64_t ahead = (int64_t)rd_kafka_queue_length(r->queue);
	int64_t ahead_bytes = ahead * (int64_t)bytes;

	if (!r->ahead_max) {
		r->ahead_max = kafka_property_int(r->client, "queued.min.messages");
		r->ahead_bytes_max = kafka_property_int(r->client, "queued.max.messages.kbytes") *
				     1024;
	}
	if (ahead > r->ahead_max / 2 || ahead_bytes > r->ahead_bytes_max / 2) {
		r->was_full = true;
	} else if (r->was_full && !kafka_is_away(r->client) && ahead < r->ahead_max / 4 &&
		   ahead_bytes < r->ahead_bytes_max / 4) {
		r->was_full = false;
		nudge(r, parts);
	}
}

int kafka_reach_fail_range(struct kafka_reach *r, const struct kafka_partition *p, struct error *e)
{
	const char *topic = r->in->target.topic;
	struct bounds at;

	if (ask_bounds(r, p->number, &at, e) < 0)
		return -1;
	error_set(e, ERROR_STATE,
		"%s[%" PRId32 "]: offset %" PRId64 " isn't there%s: %s has %" PRId64 " to %" PRId64,
		topic, p->number, p->next, p->next < at.low ? " any more" : "",
		kafka_brokers(r->client), at.low, at.high);
	if (p->next < at.low)
		return error_hint(e,
			"the topic's retention has removed %" PRId64 " offsets that were not read "
			"yet; start anew, with another --state, to go on without them",
			at.low - p->next);
	return error_hint(e, "has the topic been deleted and created again?");
}
