#include "cmd/ssource/connected/kafka.h"

#include "libcore/base/civil.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/utf8.h"

#include <string.h>

enum { MS_US = 1000 };

/* ---- --meta ---- */

static const struct {
	const char *name;
	enum kafka_meta kind;
	enum type_kind type;
} meta_names[] = {
	{"topic", KAFKA_TOPIC, TYPE_STRING},
	{"partition", KAFKA_PARTITION, TYPE_INT},
	{"offset", KAFKA_OFFSET, TYPE_INT},
	{"timestamp", KAFKA_TIMESTAMP, TYPE_TIMESTAMP},
	{"headers", KAFKA_HEADERS, TYPE_ANY},
	{"key", KAFKA_KEY, TYPE_STRING},
};

static int fail_type(const struct wanted_column *w, const char *what, struct error *e)
{
	return error_set(
		e, ERROR_USAGE, "--meta: %s is %s, not %s", w->name, what, type_name(w->type));
}

static int read_header(
	const struct wanted_column *w, struct kafka_meta_column *out, struct error *e)
{
	if (w->path_len > 2)
		return error_set(e, ERROR_USAGE,
			"--meta: headers have no values within values; "
			"put a name with dots in double quotes");
	out->kind = KAFKA_HEADER;
	out->header = w->path[1];
	out->type = w->type.kind ? w->type : TYPE_OF(TYPE_STRING);
	if (out->type.kind != TYPE_STRING && out->type.kind != TYPE_BYTES)
		return fail_type(w, "string or bytes", e);
	return 0;
}

static int read_meta(struct kafka_input *in, const struct wanted_column *w,
	struct kafka_meta_column *out, struct error *e)
{
	size_t i = 0, n = sizeof meta_names / sizeof *meta_names;

	while (i < n && strcmp(meta_names[i].name, w->path[0]) != 0)
		i++;
	if (i == n)
		return error_set(e, ERROR_USAGE,
			"--meta: a message has no '%s'; it has key, topic, "
			"partition, offset, timestamp and headers",
			w->path[0]);
	*out = (struct kafka_meta_column){
		.kind = meta_names[i].kind, .name = w->name, .type = TYPE_OF(meta_names[i].type)};
	if (out->kind == KAFKA_HEADERS && w->path_len > 1)
		return read_header(w, out, e);
	if (out->kind == KAFKA_KEY) {
		struct wanted_column *key = &in->keys[in->keys_len];

		if (w->path_len > 1 && !w->type.kind)
			return error_set(
				e, ERROR_USAGE, "--meta: '%s' is nested: give its type", w->name);
		*key = *w;
		if (key->type.kind)
			out->type = key->type;
		key->type = out->type;
		out->key = in->keys_len++;
		return 0;
	}
	if (w->path_len > 1)
		return error_set(e, ERROR_USAGE, "--meta: %s has nothing within", w->path[0]);
	if (w->type.kind && !type_equal(w->type, out->type))
		return fail_type(w, type_name(out->type), e);
	return 0;
}

static int read_metas(struct kafka_input *in, const char *text, struct error *e)
{
	struct schema_spec spec;
	char *why;

	if (!text)
		return 0;
	if (schema_spec_parse(text, &in->arena, &spec, e) < 0) {
		why = mem_strdup(strncmp(e->text, "-s: ", 4) == 0 ? e->text + 4 : e->text);
		error_set(e, ERROR_USAGE, "--meta: %s", why);
		mem_free(why);
		return -1;
	}
	if (spec.star)
		return error_set(e, ERROR_USAGE,
			"--meta: name the columns: 'key, partition, offset, "
			"timestamp as at, headers, topic'");
	in->metas = ARENA_ARRAY(&in->arena, struct kafka_meta_column, spec.len + 1);
	in->keys = ARENA_ARRAY(&in->arena, struct wanted_column, spec.len + 1);
	for (size_t i = 0; i < spec.len; i++) {
		if (read_meta(in, &spec.columns[i], &in->metas[in->metas_len++], e) < 0)
			return -1;
	}
	return 0;
}

static void put_text(struct buf *out, const void *text, size_t len)
{
	if (utf8_valid(text, len))
		msgpack_put_str(out, text, len);
	else
		msgpack_put_bin(out, text, len);
}

/* A name that comes twice: the last counts. */
static bool comes_again(rd_kafka_headers_t *headers, size_t i, const char *name)
{
	const char *other;
	const void *value;
	size_t len;

	while (!rd_kafka_header_get_all(headers, ++i, &other, &value, &len)) {
		if (strcmp(other, name) == 0)
			return true;
	}
	return false;
}

static void put_headers(
	const rd_kafka_message_t *message, struct buf *scratch, struct column_builder *out)
{
	rd_kafka_headers_t *headers;
	struct buf pairs = BUF_INIT;
	const char *name;
	const void *value;
	uint32_t n = 0;
	size_t len;

	if (rd_kafka_message_headers(message, &headers)) {
		builder_put_null(out);
		return;
	}
	for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &len); i++) {
		if (comes_again(headers, i, name))
			continue;
		put_text(&pairs, name, strlen(name));
		if (value)
			put_text(&pairs, value, len);
		else
			msgpack_put_nil(&pairs);
		n++;
	}
	buf_reset(scratch);
	msgpack_put_map(scratch, n);
	buf_put(scratch, pairs.data, pairs.len);
	builder_put_text(out, scratch->data, scratch->len);
	buf_clear(&pairs);
}

/* Bytes that aren't UTF-8 become U+FFFD in a string. */
static void put_header(const struct kafka_meta_column *c, const rd_kafka_message_t *message,
	struct buf *scratch, struct column_builder *out)
{
	rd_kafka_headers_t *headers;
	const void *value = NULL;
	const char *text;
	size_t len = 0;

	if (rd_kafka_message_headers(message, &headers) ||
		rd_kafka_header_get_last(headers, c->header, &value, &len) || !value) {
		builder_put_null(out);
		return;
	}
	text = value;
	if (c->type.kind == TYPE_BYTES || utf8_valid(text, len)) {
		builder_put_text(out, text, len);
		return;
	}
	buf_reset(scratch);
	for (size_t at = 0; at < len;) {
		uint32_t code;
		size_t n = utf8_decode(text + at, len - at, &code);

		buf_put(scratch, n ? text + at : "\xef\xbf\xbd", n ? n : 3);
		at += n ? n : 1;
	}
	builder_put_text(out, scratch->data, scratch->len);
}

void kafka_meta_put(const struct kafka_meta_column *c, const rd_kafka_message_t *message,
	struct buf *scratch, struct column_builder *out)
{
	rd_kafka_timestamp_type_t kind;
	const char *topic;
	int64_t ms;

	switch (c->kind) {
	case KAFKA_TOPIC:
		topic = rd_kafka_topic_name(message->rkt);
		builder_put_text(out, topic, strlen(topic));
		break;
	case KAFKA_PARTITION: builder_put_int(out, message->partition); break;
	case KAFKA_OFFSET: builder_put_int(out, message->offset); break;
	case KAFKA_TIMESTAMP:
		ms = rd_kafka_message_timestamp(message, &kind);
		if (kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || ms > INT64_MAX / MS_US ||
			ms < INT64_MIN / MS_US)
			builder_put_null(out);
		else
			builder_put_int(out, ms * MS_US);
		break;
	case KAFKA_HEADERS: put_headers(message, scratch, out); break;
	case KAFKA_HEADER: put_header(c, message, scratch, out); break;
	case KAFKA_KEY: break;
	}
}

/* ---- the URL and options ---- */

/* earliest, latest, committed; a time, or how long ago: -1h. */
static int read_from(struct kafka_input *in, const char *text, struct error *e)
{
	int64_t us;

	if (!text || !strcmp(text, "earliest") || !strcmp(text, "start"))
		return 0;
	if (!strcmp(text, "latest") || !strcmp(text, "end")) {
		in->from = KAFKA_LATEST;
		return 0;
	}
	if (!strcmp(text, "committed")) {
		in->from = KAFKA_COMMITTED;
		return in->group ? 0
				 : error_set(e, ERROR_USAGE,
					   "--from committed: whose? say which group "
					   "in the URL: kafka://broker/topic?group.id=NAME");
	}
	in->from = KAFKA_TIME;
	if (*text == '-' && duration_parse(text + 1, strlen(text + 1), &us) == NUMBER_OK)
		us = clock_wall_us() - us;
	else if (timestamp_parse(text, strlen(text), &us) != NUMBER_OK)
		return error_set(e, ERROR_USAGE,
			"--from '%s': earliest, latest, committed, a time "
			"(2024-05-01T10:00:00Z), or how long ago (-1h)",
			text);
	in->from_ms = us / MS_US;
	return 0;
}

static const char *find_property(const struct kafka_target *t, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < t->url.properties_len; i++) {
		if (strcmp(t->url.properties[i].name, name) == 0 && *t->url.properties[i].value)
			value = t->url.properties[i].value;
	}
	return value;
}

static int check_options(const struct source_options *o, struct error *e)
{
	const char *no = o->merges ? "--merge" : o->polls ? "--poll" : NULL;

	if (no)
		return error_set(e, ERROR_USAGE, "%s is not for a broker", no);
	if (o->records.filename_column)
		return error_set(e, ERROR_USAGE,
			"--filename is for files; --meta 'topic as %s' adds "
			"the topic's name",
			o->records.filename_column);
	if (o->records.format && strcmp(o->records.format, "frames") == 0)
		return error_set(e, ERROR_USAGE, "-f frames: messages aren't frame streams");
	if (o->records.reader.header == HEADER_YES)
		return error_set(e, ERROR_USAGE, "--header yes: messages have no header");
	if (o->follows && o->until_end)
		return error_set(e, ERROR_USAGE, "--follow and --until end exclude each other");
	if (!o->time_column && (o->has_delay || o->idle_us || o->has_ahead))
		return error_set(e, ERROR_USAGE, "%s needs the column of the event time: -t COLUMN",
			o->has_delay ? "-d"
			: o->idle_us ? "--idle"
				     : "--max-ahead");
	if (o->time_is_now && o->has_ahead)
		return error_set(e, ERROR_USAGE, "--max-ahead: with -t now no time is ahead");
	return 0;
}

int kafka_input_parse(
	const struct source_options *o, const char *url, struct kafka_input *out, struct error *e)
{
	const char *isolation;

	*out = (struct kafka_input){.arena = ARENA_INIT};
	if (kafka_target_parse(url, &out->target, e) < 0)
		return -1;
	out->group = find_property(&out->target, "group.id");
	isolation = find_property(&out->target, "isolation.level");
	out->is_committed = !isolation || strcmp(isolation, "read_uncommitted") != 0;
	out->is_bounded = o->until_end;
	if (check_options(o, e) < 0 || read_from(out, o->from, e) < 0 ||
		read_metas(out, o->meta, e) < 0) {
		kafka_input_clear(out);
		return -1;
	}
	return 0;
}

void kafka_input_clear(struct kafka_input *in)
{
	kafka_target_clear(&in->target);
	arena_clear(&in->arena);
}
