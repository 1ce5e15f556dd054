/* MessagePack to columns: one map a record, one after another.
 *
 *   A key that isn't there is null, and so is nil; of a key that comes twice the first counts, one
 *   that isn't text is passed over.  a.b reaches into nested maps, and is null where a is none.
 *   string    takes numbers and bools as well, as their text; not what is nested
 *   int       also floats without a fraction
 *   timestamp the timestamp extension (type -1), an integer in its unit, ISO 8601 text
 *   duration  microseconds, or text (1h30m)
 *   bytes     bin or str; any: whatever is there
 *   others    also come as text: "1.50", "2013-01-31", "nan"
 *
 * The line of a malformed record is its number, from 1.  Bytes that are no MessagePack end the input:
 * nothing tells where the next record would begin. */
#include "formats/reader.h"
#include "formats/seen.h"
#include "formats/value.h"

#include "libcore/base/arena.h"
#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/utf8.h"

#include <math.h>
#include <string.h>

enum { RECORD_MAX = 64 << 20, BAD_RECORD_BYTES = 64 << 10, EXT_TIMESTAMP = -1 };

/* The wanted paths as a tree: children by name, columns at the end of a path. */
struct node {
	const char *name;
	size_t name_len;
	struct node *next, *children;
	size_t *columns;
	size_t columns_len;
};

struct msgpack_reader {
	struct reader reader;
	struct reader_options options;
	char *input;
	uint64_t record;
	struct arena wanted;
	struct wanted_column *columns;
	size_t columns_len;
	struct node root;
	struct buf reason, scratch;
};

static struct msgpack_reader *self(struct reader *reader)
{
	return (struct msgpack_reader *)reader; /* its first member */
}

/* ---- what to take ---- */

static struct node *node_child(struct msgpack_reader *r, struct node *parent, const char *name)
{
	struct node **at = &parent->children;

	for (; *at; at = &(*at)->next) {
		if (strcmp((*at)->name, name) == 0)
			return *at;
	}
	*at = ARENA_NEW(&r->wanted, struct node);
	(*at)->name = arena_strdup(&r->wanted, name);
	(*at)->name_len = strlen(name);
	return *at;
}

static int want(struct reader *reader, const struct wanted_column *columns, size_t n,
	struct error *e)
{
	struct msgpack_reader *r = self(reader);

	arena_reset(&r->wanted);
	r->root = (struct node){.name = ""};
	r->columns = ARENA_ARRAY(&r->wanted, struct wanted_column, n + 1);
	r->columns_len = n;
	for (size_t i = 0; i < n; i++) {
		const struct wanted_column *w = &columns[i];
		struct node *at = &r->root;

		if (!w->path_len)
			return error_set(e, ERROR_USAGE,
				"column '%s' is taken by position; msgpack has names only", w->name);
		r->columns[i] = *w;
		r->columns[i].name = arena_strdup(&r->wanted, w->name);
		r->columns[i].path = NULL;
		for (size_t k = 0; k < w->path_len; k++)
			at = node_child(r, at, w->path[k]);
		if (!at->columns) /* at most all of them have the same path */
			at->columns = ARENA_ARRAY(&r->wanted, size_t, n);
		at->columns[at->columns_len++] = i;
	}
	return 0;
}

static void start(struct reader *reader, const char *input_name)
{
	struct msgpack_reader *r = self(reader);

	mem_free(r->input);
	r->input = mem_strdup(input_name ? input_name : "input");
	r->record = 1;
}

/* ---- values ---- */

static bool is_null_text(const struct msgpack_reader *r, const struct msgpack_item *item)
{
	for (size_t i = 0; i < r->options.nulls_len; i++) {
		const char *null = r->options.nulls[i];

		if (strlen(null) == item->bytes_len &&
			(!item->bytes_len || memcmp(null, item->bytes, item->bytes_len) == 0))
			return true;
	}
	return false;
}

static uint64_t read_be(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

/* The timestamp extension: 32 bits of seconds, 30 of nanoseconds and 34 of seconds, 32 and 64. */
static bool read_timestamp(const struct msgpack_item *item, int64_t *us)
{
	uint64_t ns = 0;
	int64_t seconds;

	if (item->ext_type != EXT_TIMESTAMP)
		return false;
	switch (item->bytes_len) {
	case 4: seconds = (int64_t)read_be(item->bytes, 4); break;
	case 8:
		ns = read_be(item->bytes, 8) >> 34;
		seconds = (int64_t)(read_be(item->bytes, 8) & ((UINT64_C(1) << 34) - 1));
		break;
	case 12:
		ns = read_be(item->bytes, 4);
		seconds = (int64_t)read_be(item->bytes + 4, 8);
		break;
	default: return false;
	}
	return ns < 1000000000 && !__builtin_mul_overflow(seconds, CIVIL_US_SECOND, us) &&
		!__builtin_add_overflow(*us, (int64_t)(ns / 1000), us);
}

static const char *kind_name(const struct msgpack_item *item)
{
	switch (item->kind) {
	case MSGPACK_NIL: return "nil";
	case MSGPACK_BOOL: return "a bool";
	case MSGPACK_INT:
	case MSGPACK_UINT: return "an int";
	case MSGPACK_FLOAT: return "a float";
	case MSGPACK_STR: return "a text";
	case MSGPACK_BIN: return "bytes";
	case MSGPACK_ARRAY: return "an array";
	case MSGPACK_MAP: return "a map";
	case MSGPACK_EXT: return "an extension";
	}
	return "a value";
}

/* By its text: numbers and bools as they are written, so that a decimal or a string may hold them. */
static int take_text(struct msgpack_reader *r, const struct wanted_column *w,
	const struct msgpack_item *item, struct column_builder *b)
{
	char number[FLOAT_TEXT_MAX]; /* the longest */
	const char *text = number;
	size_t len = 0;
	enum number_status status;

	switch (item->kind) {
	case MSGPACK_STR:
		text = (const char *)item->bytes;
		len = item->bytes_len;
		break;
	case MSGPACK_BOOL:
		text = item->boolean ? "true" : "false";
		len = strlen(text);
		break;
	case MSGPACK_INT: len = int_put(number, item->integer); break;
	case MSGPACK_UINT: len = uint_put(number, item->uint); break;
	case MSGPACK_FLOAT: len = float_put(number, item->real, 0); break;
	case MSGPACK_NIL:
	case MSGPACK_BIN:
	case MSGPACK_ARRAY:
	case MSGPACK_MAP:
	case MSGPACK_EXT:
		buf_printf(&r->reason, "%s is not %s (column %s)", kind_name(item),
			type_name(w->type), w->name);
		return -1;
	}
	status = value_put(b, w->unit, len ? text : "", len);
	if (status == NUMBER_OK)
		return 0;
	value_explain(&r->reason, w, len ? text : "", len, status);
	return -1;
}

static bool take_int(const struct msgpack_item *item, struct column_builder *b)
{
	if (item->kind == MSGPACK_INT)
		builder_put_int(b, item->integer);
	else if (item->kind == MSGPACK_FLOAT && item->real >= -0x1p63 && item->real < 0x1p63 &&
		trunc(item->real) == item->real)
		builder_put_int(b, (int64_t)item->real);
	else
		return false;
	return true;
}

/* What has the column's own kind; everything else goes by its text. */
static bool take_typed(struct msgpack_reader *r, const struct wanted_column *w,
	const struct msgpack_item *item, struct msgpack object, struct column_builder *b)
{
	int64_t us;

	switch ((enum type_kind)w->type.kind) {
	case TYPE_BOOL:
		if (item->kind != MSGPACK_BOOL)
			return false;
		builder_put_bool(b, item->boolean);
		return true;
	case TYPE_INT: return take_int(item, b);
	case TYPE_DURATION: return item->kind == MSGPACK_INT && take_int(item, b);
	case TYPE_FLOAT:
		if (item->kind == MSGPACK_FLOAT)
			builder_put_float(b, item->real);
		else if (item->kind == MSGPACK_INT)
			builder_put_float(b, (double)item->integer);
		else
			return false;
		return true;
	case TYPE_TIMESTAMP:
		if (item->kind != MSGPACK_EXT || !read_timestamp(item, &us))
			return false;
		builder_put_int(b, us);
		return true;
	case TYPE_BYTES:
		if (item->kind != MSGPACK_BIN && item->kind != MSGPACK_STR)
			return false;
		builder_put_text(b, item->bytes, item->bytes_len);
		return true;
	case TYPE_ANY:
		if (!msgpack_is_valid(object.at, (size_t)(object.end - object.at)))
			return false;
		builder_put_text(b, object.at, (size_t)(object.end - object.at));
		return true;
	case TYPE_DECIMAL:
	case TYPE_DATE:
	case TYPE_STRING: return false;
	}
	return false;
}

/* object is the whole value, item its head. */
static int take_value(struct msgpack_reader *r, const struct wanted_column *w,
	const struct msgpack_item *item, struct msgpack object, struct column_builder *b)
{
	if (item->kind == MSGPACK_NIL || (item->kind == MSGPACK_STR && is_null_text(r, item))) {
		if (!w->required) {
			builder_put_null(b);
			return 0;
		}
		buf_printf(&r->reason, "'%s' is null, and it is the event time", w->name);
		return -1;
	}
	if (take_typed(r, w, item, object, b))
		return 0;
	if (w->type.kind == TYPE_ANY) {
		buf_printf(&r->reason, "a text that isn't UTF-8 (column %s)", w->name);
		return -1;
	}
	return take_text(r, w, item, b);
}

/* ---- records ---- */

/* Records mostly have their keys in the same order: the one behind the last is looked at first. */
static const struct node *find_child(const struct node *parent, const struct node *guess,
	const struct msgpack_item *key)
{
	const struct node *n = guess ? guess : parent->children, *first = n;

	while (n) {
		if (n->name_len == key->bytes_len &&
			(!n->name_len || memcmp(n->name, key->bytes, n->name_len) == 0))
			return n;
		n = n->next ? n->next : parent->children;
		if (n == first)
			return NULL;
	}
	return NULL;
}

/* The pairs of a map whose head has been read.  The record is known to be whole. */
static int take_pairs(struct msgpack_reader *r, struct msgpack *m, uint32_t pairs,
	const struct node *parent, struct column_builder *builders, uint32_t before)
{
	const struct node *guess = NULL;

	for (uint32_t i = 0; i < pairs; i++) {
		struct msgpack_item key, item;
		struct msgpack value, key_object = *m;
		const struct node *child = NULL;

		msgpack_skip(m);
		msgpack_next(&key_object, &key);
		value.at = m->at;
		msgpack_skip(m);
		value.end = m->at;
		if (key.kind == MSGPACK_STR)
			child = find_child(parent, guess, &key);
		if (!child)
			continue;
		guess = child->next;
		struct msgpack inside = value;

		msgpack_next(&inside, &item);
		for (size_t k = 0; k < child->columns_len; k++) {
			size_t c = child->columns[k];

			if (builders[c].rows == before &&
				take_value(r, &r->columns[c], &item, value, &builders[c]) < 0)
				return -1;
		}
		if (child->children && item.kind == MSGPACK_MAP &&
			take_pairs(r, &inside, item.count, child, builders, before) < 0)
			return -1;
	}
	return 0;
}

static int fill_missing(struct msgpack_reader *r, struct column_builder *builders, uint32_t before)
{
	for (size_t i = 0; i < r->columns_len; i++) {
		if (builders[i].rows > before)
			continue;
		if (r->columns[i].required) {
			buf_printf(&r->reason, "there is no '%s', and it is the event time",
				r->columns[i].name);
			return -1;
		}
		builder_put_null(&builders[i]);
	}
	return 0;
}

/* Appends a row of the whole object, or nothing with r->reason set. */
static int take_record(struct msgpack_reader *r, const uint8_t *bytes, size_t len,
	struct column_builder *builders)
{
	uint32_t before = r->columns_len ? builders[0].rows : 0;
	struct msgpack m = {bytes, bytes + len};
	struct msgpack_item head;

	buf_reset(&r->reason);
	msgpack_next(&m, &head);
	if (head.kind != MSGPACK_MAP) {
		buf_printf(&r->reason, "a record must be a map, not %s", kind_name(&head));
		return -1;
	}
	if (take_pairs(r, &m, head.count, &r->root, builders, before) == 0 &&
		fill_missing(r, builders, before) == 0)
		return 0;
	for (size_t i = 0; i < r->columns_len; i++)
		builder_truncate(&builders[i], before);
	return -1;
}

static int refuse(struct msgpack_reader *r, const uint8_t *bytes, size_t len,
	const struct bad_sink *bad, struct error *e)
{
	struct bad_record b = {.input = r->input, .line = r->record, .reason = buf_cstr(&r->reason)};

	if (!bad || !bad->take)
		return error_set(e, ERROR_DATA, "%s: record %llu: %s", r->input,
			(unsigned long long)r->record, b.reason);
	buf_reset(&r->scratch); /* as JSON, which a person can read */
	if (msgpack_put_json(bytes, len, &r->scratch) == 0) {
		b.record = (const char *)r->scratch.data;
		b.record_len = r->scratch.len < BAD_RECORD_BYTES ? r->scratch.len : BAD_RECORD_BYTES;
	}
	return bad->take(bad->context, &b, e);
}

/* 0: the next record is whole, of *size bytes; 1: not yet; -1. */
static int next_record(const struct msgpack_reader *r, const uint8_t *p, size_t len, bool last,
	size_t *size, struct error *e)
{
	int status = len ? msgpack_measure(p, len, size) : 1;

	if (status < 0)
		return error_set(e, ERROR_DATA, "%s: record %llu: not MessagePack", r->input,
			(unsigned long long)r->record);
	if (status && len > RECORD_MAX)
		return error_set(e, ERROR_DATA, "%s: record %llu: longer than 64 MiB, or no MessagePack",
			r->input, (unsigned long long)r->record);
	if (status && last && len)
		return error_set(e, ERROR_DATA, "%s: record %llu: the input ends inside it", r->input,
			(unsigned long long)r->record);
	return status;
}

static int parse(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct column_builder *builders, const struct bad_sink *bad,
	size_t *consumed, struct error *e)
{
	struct msgpack_reader *r = self(reader);
	size_t at = 0, size;
	uint32_t rows = 0;

	while (rows < rows_max) {
		int status = next_record(r, bytes + at, len - at, last, &size, e);

		*consumed = at;
		if (status)
			return status < 0 ? -1 : 0;
		if (take_record(r, bytes + at, size, builders) == 0)
			rows++;
		else if (refuse(r, bytes + at, size, bad, e) < 0)
			return -1;
		at += size;
		r->record++;
	}
	*consumed = at;
	return 0;
}

/* ---- inference ---- */

static unsigned look_at_value(const struct msgpack_reader *r, const struct msgpack_item *item)
{
	int64_t us;

	switch (item->kind) {
	case MSGPACK_NIL: return 0;
	case MSGPACK_BOOL: return SEEN_BOOL;
	case MSGPACK_INT: return SEEN_INT;
	case MSGPACK_UINT:
	case MSGPACK_FLOAT: return SEEN_FLOAT;
	case MSGPACK_STR:
		return is_null_text(r, item) ? 0 : seen_text((const char *)item->bytes, item->bytes_len);
	case MSGPACK_BIN: return SEEN_BYTES;
	case MSGPACK_EXT: return read_timestamp(item, &us) ? SEEN_TIMESTAMP : SEEN_NESTED;
	case MSGPACK_ARRAY:
	case MSGPACK_MAP: break;
	}
	return SEEN_NESTED;
}

static void look_at_record(const struct msgpack_reader *r, const uint8_t *bytes, size_t len,
	struct schema *names, struct buf *seen)
{
	struct msgpack m = {bytes, bytes + len};
	struct msgpack_item head, key, item;

	msgpack_next(&m, &head);
	for (uint32_t i = 0; head.kind == MSGPACK_MAP && i < head.count; i++) {
		struct msgpack at = m;
		int column;

		msgpack_skip(&m);
		msgpack_next(&at, &key);
		at = m;
		msgpack_skip(&m);
		msgpack_next(&at, &item);
		if (key.kind != MSGPACK_STR || !utf8_valid((const char *)key.bytes, key.bytes_len) ||
			(key.bytes_len && memchr(key.bytes, 0, key.bytes_len)))
			continue;
		column = schema_find(names, (const char *)key.bytes, key.bytes_len);
		if (column < 0 && names->fields_len < SCHEMA_FIELDS_MAX) {
			column = schema_add(names, key.bytes_len ? (const char *)key.bytes : "",
				key.bytes_len, TYPE_OF(TYPE_STRING));
			buf_put_byte(seen, 0);
		}
		if (column >= 0)
			seen->data[column] |= (uint8_t)look_at_value(r, &item);
	}
}

/* No record had a name in it; if the first is no map, that is why. */
static int check_first_is_map(const struct msgpack_reader *r, const uint8_t *bytes, size_t len,
	struct error *e)
{
	struct msgpack m = {bytes, bytes + len};
	struct msgpack_item head;

	msgpack_next(&m, &head);
	if (head.kind == MSGPACK_MAP)
		return 0;
	return error_set(e, ERROR_DATA, "%s: record %llu: a record must be a map, not %s", r->input,
		(unsigned long long)r->record, kind_name(&head));
}

static int infer(struct reader *reader, const uint8_t *bytes, size_t len, bool last,
	uint32_t rows_max, struct schema *names_types, struct error *e)
{
	struct msgpack_reader *r = self(reader);
	struct buf seen = BUF_INIT;
	size_t at = 0, size;
	int status = 0;

	for (uint32_t rows = 0; rows < rows_max && !status; rows++) {
		/* What is wrong further on, parsing will say. */
		status = next_record(r, bytes + at, len - at, last, &size, e);
		if (status)
			break;
		look_at_record(r, bytes + at, size, names_types, &seen);
		at += size;
	}
	for (size_t i = 0; i < names_types->fields_len; i++)
		names_types->fields[i].type = TYPE_OF(seen_kind(seen.data[i]));
	buf_clear(&seen);
	if (status < 0 && !names_types->fields_len)
		return -1;
	if (status < 0)
		error_clear(e);
	if (at && !names_types->fields_len)
		return check_first_is_map(r, bytes, at, e);
	return 0;
}

/* ---- life ---- */

static bool has_record(const struct reader *reader, const uint8_t *bytes, size_t len)
{
	size_t size;

	return len && msgpack_measure(bytes, len, &size) <= 0;
}

static uint64_t line(const struct reader *reader)
{
	return ((const struct msgpack_reader *)reader)->record;
}

static void resume(struct reader *reader, uint64_t at)
{
	self(reader)->record = at;
}

static void msgpack_free(struct reader *reader)
{
	struct msgpack_reader *r = self(reader);

	arena_clear(&r->wanted);
	buf_clear(&r->reason);
	buf_clear(&r->scratch);
	mem_free(r->input);
	mem_free(r);
}

static const struct reader_ops ops = {
	.name = "msgpack",
	.is_binary = true,
	.free = msgpack_free,
	.infer = infer,
	.want = want,
	.start = start,
	.parse = parse,
	.has_record = has_record,
	.line = line,
	.resume = resume,
};

struct reader *msgpack_reader_new(const struct reader_options *o)
{
	struct msgpack_reader *r = mem_zero(sizeof *r);

	r->reader.ops = &ops;
	r->options = *o;
	start(&r->reader, o->input);
	return &r->reader;
}
