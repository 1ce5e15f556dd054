#include "cmd/common/partition.h"

#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/table/keytable.h"

#include <limits.h>

#define NULL_VALUE "__HIVE_DEFAULT_PARTITION__"

enum { PARTITION_COLUMNS_MAX = 16 };

struct partition {
	char *names[PARTITION_COLUMNS_MAX];
	int columns[PARTITION_COLUMNS_MAX]; /* in the schema */
	size_t len;
	struct schema rest;
	int *kept; /* columns of rest, in the schema */
	struct keytable *keys;

	/* Of the present batch: */
	struct arena arena;
	struct batch whole; /* of the columns that are left */
	uint32_t parts;
	uint32_t *starts; /* parts + 1: where in picks */
	uint32_t *picks;  /* rows by their part */
	const char **subs;
};

void partition_free(struct partition *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->len; i++)
		mem_free(p->names[i]);
	schema_clear(&p->rest);
	mem_free(p->kept);
	if (p->keys)
		keytable_free(p->keys);
	arena_clear(&p->arena);
	mem_free(p);
}

/* ---- names ---- */

/* The name at *at, which moves behind it and its comma. */
static char *read_name(const char **at)
{
	struct buf name = BUF_INIT;
	const char *c = *at;
	char *out;

	while (*c == ' ')
		c++;
	if (*c == '"') {
		for (c++; *c && (*c != '"' || *++c == '"'); c++)
			buf_put_byte(&name, (uint8_t)*c);
		c += strcspn(c, ",");
	} else {
		size_t len = strcspn(c, ",");
		const char *next = c + len;

		while (len && c[len - 1] == ' ')
			len--;
		buf_put(&name, c, len);
		c = next;
	}
	*at = *c ? c + 1 : c;
	out = mem_strdup(buf_cstr(&name));
	buf_clear(&name);
	return out;
}

static bool is_expression(const char *names)
{
	if (strchr(names, '"'))
		return false;
	return strpbrk(names, "()+*/':|<>") || strcasestr(names, " as ");
}

int partition_new(const char *names, struct partition **out, struct error *e)
{
	struct partition *p;
	const char *at = names;

	if (is_expression(names)) {
		error_set(e, ERROR_USAGE, "--partition '%s': it takes columns, not expressions",
			names);
		return error_hint(e,
			"compute it first: smap \"*, date_trunc('day', at)::date as day\" | "
			"ssink --partition day out/");
	}
	p = mem_zero(sizeof *p);
	schema_init(&p->rest);
	do {
		if (p->len == PARTITION_COLUMNS_MAX) {
			partition_free(p);
			return error_set(e, ERROR_USAGE, "--partition: more than %d columns",
				PARTITION_COLUMNS_MAX);
		}
		p->names[p->len++] = read_name(&at);
		for (size_t i = 0; i < p->len; i++) {
			bool is_twice = i + 1 < p->len &&
					!strcmp(p->names[i], p->names[p->len - 1]);

			if (*p->names[i] && !is_twice)
				continue;
			error_set(e, ERROR_USAGE, "--partition '%s': %s%s", names,
				is_twice ? "twice the column " : "a column's name is missing",
				is_twice ? p->names[i] : "");
			partition_free(p);
			return -1;
		}
	} while (*at);
	*out = p;
	return 0;
}

/* ---- schema ---- */

static int find_columns(
	struct partition *p, const struct schema *s, struct type *types, struct error *e)
{
	for (size_t i = 0; i < p->len; i++) {
		p->columns[i] = schema_require(
			s, p->names[i], strlen(p->names[i]), "--partition", e);
		if (p->columns[i] < 0)
			return -1;
		types[i] = s->fields[p->columns[i]].type;
		if (types[i].kind == TYPE_ANY || types[i].kind == TYPE_BYTES) {
			error_set(e, ERROR_USAGE,
				"--partition: column %s is %s, which is no name for a "
				"directory",
				p->names[i], type_name(types[i]));
			return error_hint(e, "make it text first: smap '*, %s::string as %s'",
				p->names[i], p->names[i]);
		}
	}
	return 0;
}

static bool is_partition_column(const struct partition *p, int column)
{
	for (size_t i = 0; i < p->len; i++) {
		if (p->columns[i] == column)
			return true;
	}
	return false;
}

/* Where a column of the schema is in the rest; -1 if it isn't. */
static int rest_of(const struct partition *p, int column)
{
	for (size_t i = 0; i < p->rest.fields_len; i++) {
		if (p->kept[i] == column)
			return (int)i;
	}
	return -1;
}

static void make_rest(struct partition *p, const struct schema *s)
{
	int *keys = mem_alloc((s->keys_len + 1) * sizeof *keys);
	size_t keys_len = 0;

	schema_clear(&p->rest);
	schema_init(&p->rest);
	p->kept = mem_resize(p->kept, (s->fields_len + 1) * sizeof *p->kept);
	for (size_t i = 0; i < s->fields_len; i++) {
		if (is_partition_column(p, (int)i))
			continue;
		p->kept[p->rest.fields_len] = (int)i;
		schema_add_field(&p->rest, &s->fields[i]);
	}
	p->rest.changelog = s->changelog;
	p->rest.time_column = s->time_column < 0 ? -1 : rest_of(p, s->time_column);
	p->rest.time_offset_us = p->rest.time_column < 0 ? 0 : s->time_offset_us;
	/* Within a directory the others identify a row. */
	for (size_t i = 0; i < s->keys_len; i++) {
		if (!is_partition_column(p, s->keys[i]))
			keys[keys_len++] = rest_of(p, s->keys[i]);
	}
	schema_set_keys(&p->rest, keys, keys_len);
	mem_free(keys);
}

int partition_schema(struct partition *p, const struct schema *s, struct error *e)
{
	struct type types[PARTITION_COLUMNS_MAX];

	if (find_columns(p, s, types, e) < 0)
		return -1;
	if (p->len == s->fields_len) {
		error_set(e, ERROR_USAGE,
			"--partition: all columns are in the path, and none is left "
			"for the files");
		return error_hint(e, "keep one: smap '*, 1 as one'");
	}
	make_rest(p, s);
	if (p->keys)
		keytable_free(p->keys);
	p->keys = keytable_new(types, p->len);
	return 0;
}

const struct schema *partition_rest(const struct partition *p)
{
	return &p->rest;
}

/* ---- paths ---- */

/* Hive's list (FileUtils.escapePathName). */
static void put_escaped(const char *text, size_t len, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];

		if (c >= 0x20 && c != 0x7f && !strchr("\"#%'*/:=?\\{[]^", c)) {
			buf_put_byte(out, c);
			continue;
		}
		buf_put_byte(out, '%');
		buf_put_byte(out, (uint8_t)hex[c >> 4]);
		buf_put_byte(out, (uint8_t)hex[c & 15]);
	}
}

static int put_path(struct partition *p, uint32_t key, struct buf *out, struct error *e)
{
	struct buf text = BUF_INIT;
	int status = 0;

	for (size_t i = 0; i < p->len && status == 0; i++) {
		struct column c = keytable_column(p->keys, i);
		size_t start = out->len;

		put_escaped(p->names[i], strlen(p->names[i]), out);
		buf_put_byte(out, '=');
		buf_reset(&text);
		if (column_is_valid(&c, key)) {
			column_put_text(&c, key, SIZE_MAX, &text);
			put_escaped((const char *)text.data, text.len, out);
		} else {
			buf_put_text(out, NULL_VALUE);
		}
		if (out->len - start > NAME_MAX)
			status = error_set(e, ERROR_DATA,
				"--partition: a value of %s is too long for a "
				"directory's name: '%.40s...' (%zu bytes)",
				p->names[i], buf_cstr(&text), text.len);
		buf_put_byte(out, '/');
	}
	buf_clear(&text);
	return status;
}

static int make_paths(struct partition *p, struct error *e)
{
	struct buf path = BUF_INIT;
	int status = 0;

	p->subs = ARENA_ARRAY(&p->arena, const char *, p->parts);
	for (uint32_t i = 0; i < p->parts && status == 0; i++) {
		buf_reset(&path);
		status = put_path(p, i, &path, e);
		p->subs[i] = arena_strndup(&p->arena, (const char *)path.data, path.len);
	}
	buf_clear(&path);
	return status;
}

/* ---- rows ---- */

static void find_parts(struct partition *p, const struct batch *b, uint32_t *ids)
{
	const struct column *columns[PARTITION_COLUMNS_MAX];
	uint64_t *hashes = ARENA_ARRAY(&p->arena, uint64_t, b->rows);

	for (size_t i = 0; i < p->len; i++)
		columns[i] = &b->columns[p->columns[i]];
	keys_hash(columns, p->len, b->rows, hashes);
	keytable_reset(p->keys);
	keytable_insert(p->keys, columns, b->rows, hashes, ids);
	p->parts = keytable_len(p->keys);
}

/* Counted, then placed: rows of a part keep their order. */
static void sort_rows(struct partition *p, const uint32_t *ids, uint32_t rows)
{
	uint32_t *next = ARENA_ARRAY(&p->arena, uint32_t, p->parts);

	p->starts = ARENA_ARRAY(&p->arena, uint32_t, p->parts + 1);
	p->picks = ARENA_ARRAY(&p->arena, uint32_t, rows);
	for (uint32_t r = 0; r < rows; r++)
		p->starts[ids[r] + 1]++;
	for (uint32_t i = 0; i < p->parts; i++) {
		p->starts[i + 1] += p->starts[i];
		next[i] = p->starts[i];
	}
	for (uint32_t r = 0; r < rows; r++)
		p->picks[next[ids[r]]++] = r;
}

static void keep_rest(struct partition *p, const struct batch *b)
{
	struct column *columns = ARENA_ARRAY(&p->arena, struct column, p->rest.fields_len);

	for (size_t i = 0; i < p->rest.fields_len; i++)
		columns[i] = b->columns[p->kept[i]];
	p->whole = (struct batch){
		.schema = &p->rest, .rows = b->rows, .columns = columns, .ops = b->ops};
}

int partition_split(struct partition *p, const struct batch *b, struct error *e)
{
	uint32_t *ids;

	arena_reset(&p->arena);
	ids = ARENA_ARRAY(&p->arena, uint32_t, b->rows);
	find_parts(p, b, ids);
	keep_rest(p, b);
	if (p->parts > 1)
		sort_rows(p, ids, b->rows);
	return make_paths(p, e) < 0 ? -1 : (int)p->parts;
}

void partition_part(struct partition *p, uint32_t i, struct batch *rows, const char **sub)
{
	*sub = p->subs[i];
	if (p->parts == 1)
		*rows = p->whole;
	else
		batch_gather(&p->whole, p->picks + p->starts[i], p->starts[i + 1] - p->starts[i],
			&p->arena, rows);
}
