#include "cmd/common/answers.h"

#include "formats/reader.h"
#include "formats/records.h"
#include "libcore/base/arena.h"
#include "libcore/base/json.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"

struct answers {
	enum coprocess_format format;
	const char *text;
	struct reader *reader;
	struct arena arena;      /* of the present columns */
	const char **names;      /* no other may come; NULL: any may */
	size_t names_len;
	size_t columns_len;
	struct buf why, scratch;
};

int answers_format(const char *name, enum coprocess_format *out, struct error *e)
{
	static const char *const names[] = {"ndjson", "msgpack"};

	for (int i = 0; i < 2; i++) {
		if (!strcmp(name, names[i])) {
			*out = i ? COPROCESS_MSGPACK : COPROCESS_NDJSON;
			return 0;
		}
	}
	return error_set(e, ERROR_USAGE, "--exec-format '%s': there are ndjson and msgpack", name);
}

struct answers *answers_new(enum coprocess_format format, const char *text)
{
	struct answers *a = mem_zero(sizeof *a);
	struct reader_options o = {.input = "the answer"};

	a->format = format;
	a->text = text;
	a->reader = format == COPROCESS_MSGPACK ? msgpack_reader_new(&o) : ndjson_reader_new(&o);
	return a;
}

void answers_free(struct answers *a)
{
	if (!a)
		return;
	a->reader->ops->free(a->reader);
	arena_clear(&a->arena);
	buf_clear(&a->why);
	buf_clear(&a->scratch);
	mem_free(a);
}

/* ---- columns ---- */

static struct wanted_column named(struct answers *a, const char *name, struct type type)
{
	const char **path = ARENA_ARRAY(&a->arena, const char *, 1);

	path[0] = arena_strdup(&a->arena, name);
	return (struct wanted_column){.name = path[0], .path = path, .path_len = 1, .position = -1,
		.type = type};
}

static struct wanted_column *find_wanted(struct wanted_column *columns, size_t n,
	const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(columns[i].name, name))
			return &columns[i];
	}
	return NULL;
}

/* A column that was named without a type has the one it has in the questions. */
static int settle_type(struct wanted_column *w, const struct schema *asked, struct error *e)
{
	int same = schema_find(asked, w->name, strlen(w->name));

	if (w->type.kind)
		return 0;
	if (same < 0)
		return error_set(e, ERROR_USAGE, "--exec-schema: '%s' has no type, and is no column of "
			"what the command is asked either\nwrite '%s int', or string, float, ...",
			w->name, w->name);
	w->type = asked->fields[same].type;
	return 0;
}

/* With *, the questions' columns come first; one of the text with the same name takes its place. */
static int put_columns(struct answers *a, const struct schema *asked, struct wanted_column *out,
	size_t *len, struct error *e)
{
	struct schema_spec spec = {.star = true};

	if (a->text && schema_spec_parse(a->text, &a->arena, &spec, e) < 0)
		return error_context(e, "--exec-schema");
	*len = 0;
	for (size_t i = 0; spec.star && i < asked->fields_len; i++)
		out[(*len)++] = named(a, asked->fields[i].name, asked->fields[i].type);
	for (size_t i = 0; i < spec.len; i++) {
		struct wanted_column *there = find_wanted(out, *len, spec.columns[i].name);

		if (settle_type(&spec.columns[i], asked, e) < 0)
			return -1;
		if (!there)
			there = &out[(*len)++];
		*there = spec.columns[i];
	}
	return 0;
}

static size_t columns_most(const struct answers *a, const struct schema *asked)
{
	size_t most = asked->fields_len + 1;

	for (const char *c = a->text ? a->text : ""; *c; c++)
		most += *c == ',';
	return most;
}

static void keep_names(struct answers *a, const struct schema *s)
{
	a->names = ARENA_ARRAY(&a->arena, const char *, s->fields_len);
	a->names_len = s->fields_len;
	for (size_t i = 0; i < s->fields_len; i++)
		a->names[i] = arena_strdup(&a->arena, s->fields[i].name);
}

int answers_schema(struct answers *a, const struct schema *asked, const char *required,
	struct schema *out, struct error *e)
{
	struct wanted_column *wanted;
	size_t n = 0;

	arena_reset(&a->arena);
	a->names = NULL;
	wanted = ARENA_ARRAY(&a->arena, struct wanted_column, columns_most(a, asked));
	if (put_columns(a, asked, wanted, &n, e) < 0)
		return -1;
	if (!n)
		return error_set(e, ERROR_USAGE, "--exec: its answers have no column");
	a->columns_len = n;
	schema_clear(out);
	for (size_t i = 0; i < n; i++) {
		schema_add(out, wanted[i].name, strlen(wanted[i].name), wanted[i].type);
		wanted[i].required = required && !strcmp(wanted[i].name, required);
	}
	if (!a->text)
		keep_names(a, out);
	if (a->reader->ops->want(a->reader, wanted, n, e) < 0)
		return error_context(e, "--exec-schema");
	a->reader->ops->start(a->reader, "the answer");
	return 0;
}

/* ---- one answer ---- */

static int wrong(struct answers *a, const char *why)
{
	buf_reset(&a->why);
	buf_put_text(&a->why, why);
	return -1;
}

static int take_bad(void *context, const struct bad_record *bad, struct error *e)
{
	struct answers *a = context;

	wrong(a, bad->reason);
	if (bad->column)
		buf_printf(&a->why, " (byte %u)", bad->column);
	return error_set(e, ERROR_DATA, "%s", bad->reason);
}

/* The maps that follow each other in these bytes, n of them. */
static int take_objects(struct answers *a, const uint8_t *bytes, size_t len, uint32_t n,
	struct column_builder *builders)
{
	struct bad_sink bad = {take_bad, a};
	uint32_t before = builders[0].rows;
	struct error e = ERROR_INIT;
	size_t consumed;

	buf_reset(&a->why);
	if (a->reader->ops->parse(a->reader, bytes, len, true, n, builders, &bad, &consumed, &e) < 0)
		return a->why.len ? -1 : wrong(a, e.text);
	return builders[0].rows == before + n ? 0 : wrong(a, "it is no whole object");
}

/* Answers mostly have their keys in the columns' order. */
static bool is_name(const struct answers *a, const struct msgpack_item *key, size_t guess)
{
	for (size_t i = 0; key->kind == MSGPACK_STR && i < a->names_len; i++) {
		const char *name = a->names[(guess + i) % a->names_len];

		if (strlen(name) == key->bytes_len && !memcmp(name, key->bytes, key->bytes_len))
			return true;
	}
	return false;
}

static int refuse_name(struct answers *a, const struct msgpack_item *key)
{
	int len = key->kind == MSGPACK_STR ? (int)(key->bytes_len < 64 ? key->bytes_len : 64) : 0;
	const char *name = len ? (const char *)key->bytes : "";

	buf_reset(&a->why);
	buf_printf(&a->why, "'%.*s' is no column of the question: name those of the answers, "
		"--exec-schema '*, %.*s TYPE'", len, name, len, name);
	return -1;
}

/* Whether every key of the map is a column. */
static int check_names(struct answers *a, const uint8_t *bytes, size_t len)
{
	struct msgpack m = {bytes, bytes + len};
	struct msgpack_item head, key;

	if (!a->names || msgpack_next(&m, &head) != 0 || head.kind != MSGPACK_MAP)
		return 0;
	for (uint32_t i = 0; i < head.count; i++) {
		struct msgpack at = m;

		if (msgpack_next(&at, &key) != 0 || msgpack_skip(&m) != 0 || msgpack_skip(&m) != 0)
			return 0; /* who takes the values says so */
		if (!is_name(a, &key, i))
			return refuse_name(a, &key);
	}
	return 0;
}

static int check_json_names(struct answers *a, const uint8_t *bytes, size_t len)
{
	const char *why;
	size_t at;

	buf_reset(&a->scratch);
	if (!a->names || json_parse((const char *)bytes, len, &a->scratch, &at, &why) < 0)
		return 0;
	return check_names(a, a->scratch.data, a->scratch.len);
}

static int take_object(struct answers *a, const uint8_t *bytes, size_t len,
	struct column_builder *builders)
{
	int checked = a->format == COPROCESS_MSGPACK ? check_names(a, bytes, len) :
		check_json_names(a, bytes, len);

	return checked < 0 ? -1 : take_objects(a, bytes, len, 1, builders);
}

static void undo(struct column_builder *builders, uint32_t rows, size_t columns)
{
	for (size_t i = 0; i < columns; i++)
		builder_truncate(&builders[i], rows);
}

/* ---- as JSON ---- */

static const uint8_t *skip_space(const uint8_t *p, const uint8_t *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

/* Behind the object that begins at p, by its braces alone: what is in it is its reader's matter.
 * NULL: it isn't closed. */
static const uint8_t *behind_object(const uint8_t *p, const uint8_t *end)
{
	unsigned depth = 0;
	bool quoted = false;

	for (; p < end; p++) {
		if (quoted) {
			if (*p == '\\')
				p++;
			else if (*p == '"')
				quoted = false;
			continue;
		}
		quoted = *p == '"';
		depth += *p == '{' || *p == '[';
		if ((*p == '}' || *p == ']') && --depth == 0)
			return p + 1;
	}
	return NULL;
}

static int take_json_array(struct answers *a, const uint8_t *p, const uint8_t *end,
	struct column_builder *builders, uint32_t *rows)
{
	static const char what[] = "an array of an answer holds objects, separated by commas";

	p = skip_space(p + 1, end);
	for (*rows = 0; p < end && (*p != ']' || *rows); ++*rows) {
		const uint8_t *behind = *p == '{' ? behind_object(p, end) : NULL;

		if (!behind)
			return wrong(a, what);
		if (take_object(a, p, (size_t)(behind - p), builders) < 0)
			return -1;
		p = skip_space(behind, end);
		if (p < end && *p == ']') {
			++*rows;
			break;
		}
		if (p == end || *p != ',')
			return wrong(a, what);
		p = skip_space(p + 1, end);
	}
	if (p == end || skip_space(p + 1, end) != end)
		return wrong(a, p == end ? "an array that isn't closed" : "something follows the array");
	return 0;
}

static int take_json(struct answers *a, const uint8_t *bytes, size_t len,
	struct column_builder *builders, uint32_t *rows)
{
	const uint8_t *end = bytes + len, *p = skip_space(bytes, end);

	while (end > p && (end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*rows = 1;
	if (p == end)
		return wrong(a, "an empty line");
	if (*p == '{')
		return take_object(a, p, (size_t)(end - p), builders);
	if (*p == '[')
		return take_json_array(a, p, end, builders, rows);
	*rows = 0;
	if (end - p == 4 && !memcmp(p, "null", 4))
		return 0;
	return wrong(a, "an answer is an object, an array of objects, or null");
}

/* ---- as msgpack ---- */

static int take_msgpack(struct answers *a, const uint8_t *bytes, size_t len,
	struct column_builder *builders, uint32_t *rows)
{
	struct msgpack m = {bytes, bytes + len};
	struct msgpack_item head;

	*rows = 0;
	if (msgpack_next(&m, &head) != 0)
		return wrong(a, "no msgpack");
	if (head.kind == MSGPACK_NIL)
		return 0;
	*rows = 1;
	if (head.kind == MSGPACK_MAP)
		return take_object(a, bytes, len, builders);
	if (head.kind != MSGPACK_ARRAY)
		return wrong(a, "an answer is a map, an array of maps, or nil");
	for (*rows = 0; *rows < head.count; ++*rows) {
		const uint8_t *at = m.at;

		if (msgpack_skip(&m) != 0)
			return wrong(a, "no msgpack");
		if (take_object(a, at, (size_t)(m.at - at), builders) < 0)
			return -1;
	}
	return 0;
}

int answers_take(struct answers *a, const struct coprocess_answer *in,
	struct column_builder *builders, uint32_t *rows, const char **why)
{
	uint32_t before = builders[0].rows;
	int status = a->format == COPROCESS_MSGPACK ?
		take_msgpack(a, in->bytes, in->len, builders, rows) :
		take_json(a, in->bytes, in->len, builders, rows);

	if (status == 0)
		return 0;
	*why = buf_cstr(&a->why);
	if (builders[0].rows > before)
		undo(builders, before, a->columns_len);
	return -1;
}
