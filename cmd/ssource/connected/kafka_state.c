#include "cmd/ssource/connected/kafka.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/number.h"
#include "libcore/frame/frame.h"
#include "libcore/stage/operator.h"
#include "libcore/state/named_section.h"

#include <inttypes.h>
#include <string.h>

enum { COMMIT_SLICE_MS = 100 };

enum { K_TOPIC, K_SCHEMA, K_FORMAT, K_ROWS, K_NOW, K_BEGUN, K_COLUMNS };
enum { P_PARTITION, P_OFFSET, P_END, P_GREATEST, P_SILENT, P_COLUMNS };

static const struct named_column kafka_columns[K_COLUMNS] = {
	[K_TOPIC] = {"topic", TYPE_STRING},
	[K_SCHEMA] = {"schema", TYPE_STRING},
	[K_FORMAT] = {"format", TYPE_STRING},
	[K_ROWS] = {"rows", TYPE_INT},
	[K_NOW] = {"now", TYPE_TIMESTAMP},
	[K_BEGUN] = {"begun", TYPE_BOOL},
};

static const struct named_column partition_columns[P_COLUMNS] = {
	[P_PARTITION] = {"partition", TYPE_INT},
	[P_OFFSET] = {"offset", TYPE_INT},
	[P_END] = {"end", TYPE_INT},
	[P_GREATEST] = {"greatest_time", TYPE_TIMESTAMP},
	[P_SILENT] = {"silent", TYPE_DURATION},
};

/* ---- partitions ---- */

struct kafka_partition *kafka_partitions_find(const struct kafka_partitions *p, int32_t number)
{
	for (size_t i = 0; i < p->len; i++) {
		if (p->items[i]->number == number)
			return p->items[i];
	}
	return NULL;
}

struct kafka_partition *kafka_partitions_add(struct kafka_partitions *p, int32_t number)
{
	struct kafka_partition *one = mem_zero(sizeof *one);

	one->number = number;
	one->next = one->end = OFFSET_UNKNOWN;
	one->greatest_us = WATERMARK_NONE;
	MEM_GROW(p->items, p->cap, p->len + 1);
	return p->items[p->len++] = one;
}

void kafka_partitions_clear(struct kafka_partitions *p)
{
	for (size_t i = 0; i < p->len; i++)
		mem_free(p->items[i]);
	mem_free(p->items);
	*p = (struct kafka_partitions){.items = NULL};
}

void kafka_state_clear(struct kafka_state *s)
{
	mem_free(s->topic);
	mem_free(s->spec);
	mem_free(s->format);
	*s = (struct kafka_state){.now_us = WATERMARK_NONE};
}

int kafka_state_put(const struct kafka_state *s, struct snapshot_writer *w, struct error *e)
{
	struct named_section out;

	named_section_begin(&out, w, "kafka", kafka_columns, K_COLUMNS, e);
	builder_put_string(&out.columns[K_TOPIC], s->topic);
	builder_put_string(&out.columns[K_SCHEMA], s->spec);
	builder_put_string(&out.columns[K_FORMAT], s->format);
	builder_put_int(&out.columns[K_ROWS], (int64_t)s->rows);
	builder_put_int_unless(&out.columns[K_NOW], s->now_us == WATERMARK_NONE, s->now_us);
	builder_put_bool(&out.columns[K_BEGUN], s->begun);
	named_section_row(&out);
	return named_section_end(&out);
}

int kafka_state_take(struct kafka_state *s, const struct batch *b, struct error *e)
{
	const struct column *c[K_COLUMNS];

	if (named_section_find(b, kafka_columns, K_COLUMNS, c, e) < 0)
		return -1;
	for (uint32_t row = 0; row < b->rows; row++) { /* one of every subtask there was */
		int64_t now_us = column_int_or(c[K_NOW], row, WATERMARK_NONE);

		s->rows += (uint64_t)column_int_or(c[K_ROWS], row, 0);
		s->now_us = now_us > s->now_us ? now_us : s->now_us;
		s->begun = (!s->has_any || s->begun) && column_bool(c[K_BEGUN], row);
		s->has_any = true;
		if (!s->topic)
			s->topic = column_strdup(c[K_TOPIC], row);
		if (!s->spec)
			s->spec = column_strdup(c[K_SCHEMA], row);
		if (!s->format)
			s->format = column_strdup(c[K_FORMAT], row);
	}
	return 0;
}

int kafka_partitions_put(const struct kafka_partitions *p, int64_t mono_us,
	struct snapshot_writer *w, struct error *e)
{
	struct named_section out;

	named_section_begin(&out, w, "partitions", partition_columns, P_COLUMNS, e);
	for (size_t i = 0; i < p->len; i++) {
		const struct kafka_partition *one = p->items[i];
		int64_t greatest_us = one->time ? one->time->greatest_us : one->greatest_us;

		builder_put_int(&out.columns[P_PARTITION], one->number);
		builder_put_int(&out.columns[P_OFFSET], one->next);
		builder_put_int_unless(&out.columns[P_END], one->end == OFFSET_UNKNOWN, one->end);
		builder_put_int_unless(&out.columns[P_GREATEST], greatest_us == WATERMARK_NONE, greatest_us);
		builder_put_int(&out.columns[P_SILENT],
			one->time ? mono_us - one->time->active_us : one->silent_us);
		named_section_row(&out);
	}
	return named_section_end(&out);
}

int kafka_partitions_take(struct kafka_partitions *p, const struct batch *b, struct error *e)
{
	const struct column *c[P_COLUMNS];

	if (named_section_find(b, partition_columns, P_COLUMNS, c, e) < 0)
		return -1;
	for (uint32_t row = 0; row < b->rows; row++) {
		int64_t number = column_int_or(c[P_PARTITION], row, -1),
			next = column_int_or(c[P_OFFSET], row, -1);
		struct kafka_partition *one;

		if (number < 0 || number > INT32_MAX || next < 0)
			return error_set(e, ERROR_STATE,
				"a partition %" PRId64 " at offset %" PRId64, number, next);
		if (kafka_partitions_find(p, (int32_t)number))
			return error_set(
				e, ERROR_STATE, "partition %" PRId64 " comes twice", number);
		one = kafka_partitions_add(p, (int32_t)number);
		one->next = next;
		one->end = column_int_or(c[P_END], row, OFFSET_UNKNOWN);
		one->greatest_us = column_int_or(c[P_GREATEST], row, WATERMARK_NONE);
		one->silent_us = column_int_or(c[P_SILENT], row, 0);
	}
	return 0;
}

/* ---- committed offsets ---- */

void kafka_handle_put(const struct kafka_partitions *p, struct buf *out)
{
	for (size_t i = 0; i < p->len; i++) {
		if (p->items[i]->next != OFFSET_UNKNOWN)
			buf_printf(out, "%" PRId32 " %" PRId64 "\n", p->items[i]->number,
				p->items[i]->next);
	}
}

static rd_kafka_topic_partition_list_t *read_handle(
	const char *topic, const uint8_t *handle, size_t len)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
	const char *p = (const char *)handle, *end = p + len;

	while (p < end) {
		int64_t number, offset;
		ssize_t n = int_scan(p, (size_t)(end - p), &number);

		if (n <= 0 || number < 0 || number > INT32_MAX || p + n >= end || p[n] != ' ')
			break;
		p += n + 1;
		n = int_scan(p, (size_t)(end - p), &offset);
		if (n <= 0 || p + n >= end || p[n] != '\n')
			break;
		p += n + 1;
		rd_kafka_topic_partition_list_add(list, topic, (int32_t)number)->offset = offset;
	}
	return list;
}

/* Until the answer is there, or it took too long. */
static rd_kafka_resp_err_t wait_for_commit(
	rd_kafka_queue_t *queue, int64_t wait_us, struct stage *st, struct error *e)
{
	int64_t until_us = clock_mono_us() + wait_us;
	rd_kafka_event_t *event = NULL;
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;

	while (!event && clock_mono_us() < until_us && stage_alive(st, e) == 0)
		event = rd_kafka_queue_poll(queue, COMMIT_SLICE_MS);
	if (event)
		err = rd_kafka_event_error(event);
	rd_kafka_event_destroy(event);
	return err;
}

int kafka_handle_commit(struct kafka_reach *r, const uint8_t *handle, size_t len, int64_t wait_us,
	struct stage *st, struct error *e)
{
	rd_kafka_t *rk = kafka_handle(r->client);
	rd_kafka_topic_partition_list_t *list = read_handle(r->in->target.topic, handle, len);
	rd_kafka_queue_t *queue = wait_us ? rd_kafka_queue_new(rk) : NULL;
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;

	if (list->cnt)
		err = queue ? rd_kafka_commit_queue(rk, list, queue, NULL, NULL)
			    : rd_kafka_commit(rk, list, 1);
	if (list->cnt && queue && !err)
		err = wait_for_commit(queue, wait_us, st, e);
	rd_kafka_topic_partition_list_destroy(list);
	if (queue)
		rd_kafka_queue_destroy(queue);
	if (err)
		stage_warn(st, "%s: the offsets of group %s can't be committed: %s",
			kafka_brokers(r->client), r->in->group, rd_kafka_err2str(err));
	return e->code ? -1 : 0;
}
