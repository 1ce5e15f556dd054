/* Lookups in PostgreSQL: one query for many keys.
 *
 *   select k.n, t."a", ... from unnest($1::bigint[], ...) with ordinality k(v0, ..., n)
 *   join "t" t on t."id" = k.v0 and ... order by k.n
 *
 * So the server's own idea of equal counts, its index is used, and every row says whose it is. */
#include "cmd/sjoin/lookup.h"

#include "connect/heavy/postgres_catalog.h"
#include "connect/heavy/postgres_persist.h"
#include "libcore/base/civil.h"
#include "libcore/base/memory.h"

#include <endian.h>
#include <string.h>

struct postgres_lookup {
	struct lookup base;
	struct url url;
	struct postgres_table table; /* name NULL: a query */
	const char *query, *columns_said;
	bool supervised, answered;
	struct stage *st;
	struct postgres *db;
	struct arena arena;
	struct postgres_column *columns;
	struct postgres_codec *codecs;
	size_t columns_len;
	size_t keys_len;
	struct buf sql;
};

static struct postgres_lookup *postgres_of(struct lookup *l)
{
	return (struct postgres_lookup *)l;
}

static void lookup_free(struct lookup *base)
{
	struct postgres_lookup *l = postgres_of(base);

	postgres_close(l->db);
	postgres_table_clear(&l->table);
	url_clear(&l->url);
	arena_clear(&l->arena);
	buf_clear(&l->sql);
	mem_free(l);
}

/* ---- a server that comes and goes ---- */

static int lookup_alive(void *context, struct error *e)
{
	struct postgres_lookup *l = context;

	return l->st ? stage_alive(l->st, e) : 0;
}

static int lookup_await(void *context, struct error *e)
{
	struct postgres_lookup *l = context;

	return l->st ? stage_await(l->st, e) : 0;
}

static int lookup_connect(struct postgres_lookup *l, struct error *e)
{
	struct postgres_setup setup = {
		.url = &l->url, .program = "sjoin", .wait = {lookup_alive, l}, .await = lookup_await};

	if (l->db && !postgres_is_lost(l->db))
		return 0;
	postgres_close(l->db);
	l->db = NULL;
	return postgres_open(&setup, &l->db, e);
}

struct attempt {
	struct postgres_lookup *l;
	int (*step)(struct postgres_lookup *l, void *context, struct error *e);
	void *context;
};

static int attempt_step(void *context, struct error *e)
{
	struct attempt *a = context;

	return lookup_connect(a->l, e) < 0 ? -1 : a->step(a->l, a->context, e);
}

static void attempt_warn(void *context, const char *text)
{
	struct attempt *a = context;

	stage_warn(a->l->st, "%s; asked again until it answers", text);
}

/* A server that has never answered is more likely a wrong address than one that will come back; a
 * supervisor knows better. */
static int persist(struct postgres_lookup *l,
	int (*step)(struct postgres_lookup *l, void *context, struct error *e), void *context,
	struct error *e)
{
	struct attempt a = {l, step, context};
	struct postgres_persist p = {attempt_step, &a, attempt_warn, {lookup_alive, l}};
	int status = l->answered || l->supervised ? postgres_persist(&p, e) : attempt_step(&a, e);

	l->answered = l->answered || status == 0;
	return status;
}

/* ---- what there is ---- */

/* The names in "a, b, \"C\"", quoted for SQL. */
static int put_selected(const struct postgres_lookup *l, struct buf *out, struct error *e)
{
	struct postgres_table one;
	const char *at = l->columns_said;

	if (!at) {
		buf_put_byte(out, '*');
		return 0;
	}
	while (*at) {
		size_t n = 0;
		bool quoted = false;
		char *name;
		int status;

		for (; at[n] && (quoted || at[n] != ','); n++)
			quoted ^= at[n] == '"';
		name = mem_strndup(at, n);
		status = postgres_table_parse(name, &one, e);
		mem_free(name);
		if (status < 0)
			return error_context(e, "columns='%s'", l->columns_said);
		postgres_put_name(out, one.name);
		postgres_table_clear(&one);
		at += n;
		if (*at) {
			buf_put_text(out, ", ");
			at++;
		}
	}
	return 0;
}

static int put_select(const struct postgres_lookup *l, struct buf *out, struct error *e)
{
	buf_put_text(out, "select ");
	if (put_selected(l, out, e) < 0)
		return -1;
	buf_put_text(out, " from ");
	if (l->query)
		buf_printf(out, "(%s\n) as \"query\"", l->query);
	else
		postgres_table_put(&l->table, out);
	return 0;
}

static int describe_step(struct postgres_lookup *l, void *context, struct error *e)
{
	return postgres_describe(l->db, context, &l->arena, &l->columns, &l->columns_len, e);
}

static int lookup_schema_of(
	struct lookup *base, struct stage *st, struct schema *out, struct error *e)
{
	struct postgres_lookup *l = postgres_of(base);
	struct buf sql = BUF_INIT;
	int status;

	l->st = st;
	status = put_select(l, &sql, e);
	if (status == 0) {
		buf_cstr(&sql);
		status = persist(l, describe_step, sql.data, e);
	}
	buf_clear(&sql);
	if (status < 0)
		return -1;
	l->codecs = ARENA_ARRAY(&l->arena, struct postgres_codec, l->columns_len);
	for (size_t i = 0; i < l->columns_len; i++) {
		const char *name = l->columns[i].name;

		if (schema_find(out, name, strlen(name)) >= 0)
			return error_set(
				e, ERROR_USAGE, "--lookup: two columns are called %s", name);
		l->codecs[i] = postgres_codec_of(&l->columns[i].type);
		schema_add(out, name, strlen(name), l->codecs[i].type);
	}
	return 0;
}

/* ---- the question ---- */

/* The type that a key's values have in the query, NULL: text, with which the column's text is
 * compared. */
static const char *key_type(const struct postgres_column *c, struct type t)
{
	switch ((enum type_kind)t.kind) {
	case TYPE_BOOL: return "boolean";
	case TYPE_INT: return "bigint";
	case TYPE_FLOAT: return "double precision";
	case TYPE_DECIMAL: return "numeric";
	case TYPE_DATE: return "date";
	case TYPE_TIMESTAMP: return c->type.oid == OID_TIMESTAMP ? "timestamp" : "timestamptz";
	case TYPE_DURATION: return "interval";
	case TYPE_BYTES: return "bytea";
	case TYPE_STRING:
		return c->type.oid == OID_TEXT || c->type.oid == OID_VARCHAR ? "text"
		       : c->type.oid == OID_BPCHAR                           ? "bpchar"
		       : c->type.oid == OID_NAME                             ? "name"
									     : NULL;
	case TYPE_ANY: break;
	}
	return NULL;
}

static void put_columns(const struct postgres_lookup *l, struct buf *out)
{
	buf_put_text(out, "select k.n");
	for (size_t i = 0; i < l->columns_len; i++) {
		const struct postgres_codec *c = &l->codecs[i];

		buf_put_text(out, ", t.");
		postgres_put_name(out, l->columns[i].name);
		if (c->form == POSTGRES_OTHER)
			buf_put_text(out, "::pg_catalog.text");
		else if (c->form == POSTGRES_ARRAY && c->element == POSTGRES_OTHER)
			buf_put_text(out, "::pg_catalog.text[]");
	}
}

static int lookup_keys_of(struct lookup *base, const int *columns, const struct type *types,
	size_t n, struct error *e)
{
	struct postgres_lookup *l = postgres_of(base);
	struct buf *out = &l->sql;

	l->keys_len = n;
	buf_reset(out);
	put_columns(l, out);
	buf_put_text(out, " from unnest(");
	for (size_t k = 0; k < n; k++) {
		const char *type = key_type(&l->columns[columns[k]], types[k]);

		buf_printf(out, "%s$%zu::%s[]", k ? ", " : "", k + 1, type ? type : "text");
	}
	buf_put_text(out, ") with ordinality as k(");
	for (size_t k = 0; k < n; k++)
		buf_printf(out, "v%zu, ", k);
	buf_put_text(out, "n) join (");
	if (put_select(l, out, e) < 0)
		return -1;
	buf_put_text(out, ") as t on ");
	for (size_t k = 0; k < n; k++) {
		buf_printf(out, "%st.", k ? " and " : "");
		postgres_put_name(out, l->columns[columns[k]].name);
		buf_printf(out, "%s = k.v%zu",
			key_type(&l->columns[columns[k]], types[k]) ? "" : "::pg_catalog.text", k);
	}
	buf_put_text(out, " order by k.n");
	return 0;
}

/* No text there has a zero byte: such a key is null, which nothing is equal to. */
static void put_quoted(struct buf *out, struct text_view t)
{
	if (t.len && memchr(t.text, 0, t.len)) {
		buf_put_text(out, "null");
		return;
	}
	buf_put_byte(out, '"');
	for (size_t i = 0; i < t.len; i++) {
		if (t.text[i] == '"' || t.text[i] == '\\')
			buf_put_byte(out, '\\');
		buf_put_byte(out, (uint8_t)t.text[i]);
	}
	buf_put_byte(out, '"');
}

static void put_hex(struct buf *out, struct text_view t)
{
	static const char digits[] = "0123456789abcdef";

	buf_put_text(out, "\"\\\\x");
	for (size_t i = 0; i < t.len; i++) {
		buf_put_byte(out, (uint8_t)digits[(uint8_t)t.text[i] >> 4]);
		buf_put_byte(out, (uint8_t)digits[(uint8_t)t.text[i] & 15]);
	}
	buf_put_byte(out, '"');
}

/* Years before the first have their era behind. */
static void put_civil(struct buf *out, const struct civil *c, bool has_time)
{
	long long year = (long long)(c->year > 0 ? c->year : 1 - c->year);

	buf_printf(out, "\"%04lld-%02d-%02d", year, c->month, c->day);
	if (has_time)
		buf_printf(out, " %02d:%02d:%02d.%06d+00", c->hour, c->minute, c->second, c->us);
	buf_put_text(out, c->year <= 0 ? " BC\"" : "\"");
}

static void put_value(struct buf *out, const struct column *c, uint32_t row)
{
	struct civil civil;
	char text[64];

	switch ((enum type_kind)c->type.kind) {
	case TYPE_BOOL: buf_put_byte(out, column_bool(c, row) ? 't' : 'f'); break;
	case TYPE_INT: buf_put(out, text, int_put(text, column_int(c, row))); break;
	case TYPE_FLOAT: buf_put(out, text, float_put(text, column_float(c, row), 0)); break;
	case TYPE_DECIMAL:
		buf_put(out, text, decimal_put(text, column_decimal(c, row), c->type.scale));
		break;
	case TYPE_DATE:
		civil_from_days(column_date(c, row), &civil);
		put_civil(out, &civil, false);
		break;
	case TYPE_TIMESTAMP:
		civil_from_us(column_int(c, row), &civil);
		put_civil(out, &civil, true);
		break;
	case TYPE_DURATION: buf_printf(out, "\"%lld us\"", (long long)column_int(c, row)); break;
	case TYPE_BYTES: put_hex(out, column_text(c, row)); break;
	case TYPE_STRING:
	case TYPE_ANY: put_quoted(out, column_text(c, row)); break;
	}
}

struct question {
	const struct column *keys;
	uint32_t n;
	PGresult *answer;
};

static int ask_step(struct postgres_lookup *l, void *context, struct error *e)
{
	struct question *q = context;
	struct buf *arrays = mem_zero(l->keys_len * sizeof *arrays);
	const char **values = mem_alloc(l->keys_len * sizeof *values);
	int status;

	for (size_t k = 0; k < l->keys_len; k++) {
		for (uint32_t i = 0; i < q->n; i++) {
			buf_put_byte(&arrays[k], i ? ',' : '{');
			put_value(&arrays[k], &q->keys[k], i);
		}
		buf_put_byte(&arrays[k], '}');
		values[k] = buf_cstr(&arrays[k]);
	}
	status = postgres_run_with(
		l->db, buf_cstr(&l->sql), values, l->keys_len, true, &q->answer, e);
	for (size_t k = 0; k < l->keys_len; k++)
		buf_clear(&arrays[k]);
	mem_free(arrays);
	mem_free(values);
	return status;
}

/* ---- the answer ---- */

static int take_value(struct postgres_lookup *l, const PGresult *r, int row, size_t column,
	struct column_builder *to, struct error *e)
{
	const uint8_t *bytes = (const uint8_t *)PQgetvalue(r, row, (int)column + 1);
	const char *why;

	if (PQgetisnull(r, row, (int)column + 1)) {
		builder_put_null(to);
		return 0;
	}
	if (postgres_take_binary(&l->codecs[column], bytes,
		    (size_t)PQgetlength(r, row, (int)column + 1), to, &why) == 0)
		return 0;
	return error_set(e, ERROR_DATA, "%s: column '%s' holds %s", postgres_server(l->db),
		l->columns[column].name, why);
}

static int take_answer(struct postgres_lookup *l, const struct question *q,
	const struct lookup_found *out, struct error *e)
{
	for (int row = 0; row < PQntuples(q->answer); row++) {
		uint64_t n;

		memcpy(&n, PQgetvalue(q->answer, row, 0), sizeof n);
		n = be64toh(n);
		if (n < 1 || n > q->n)
			return error_set(e, ERROR_IO, "%s: an answer to no question",
				postgres_server(l->db));
		out->counts[n - 1]++;
		for (size_t c = 0; c < l->columns_len; c++) {
			if (take_value(l, q->answer, row, c, &out->rows->columns[c], e) < 0)
				return -1;
		}
	}
	return 0;
}

static int lookup_ask(struct lookup *base, const struct column *keys, uint32_t n,
	const struct lookup_found *out, struct error *e)
{
	struct postgres_lookup *l = postgres_of(base);
	struct question q = {.keys = keys, .n = n};
	int status = persist(l, ask_step, &q, e);

	if (status == 0)
		status = take_answer(l, &q, out, e);
	PQclear(q.answer);
	return status;
}

static const struct lookup_ops postgres_lookup_ops = {
	.free = lookup_free,
	.schema = lookup_schema_of,
	.keys = lookup_keys_of,
	.ask = lookup_ask,
};

/* ---- making one ---- */

static int read_url(struct postgres_lookup *l, struct error *e)
{
	const char *table;

	table = url_take(&l->url, "table");
	l->query = url_take(&l->url, "query");
	l->columns_said = url_take(&l->url, "columns");
	if (!table == !l->query)
		return error_set(e, ERROR_USAGE,
			"which table?\n"
			"postgresql://host/database?table=t, or ?query=select ...");
	return table ? postgres_table_parse(table, &l->table, e) : 0;
}

int lookup_new_postgres(const struct lookup_options *o, struct lookup **out, struct error *e)
{
	struct postgres_lookup *l = mem_zero(sizeof *l);
	struct buf name = BUF_INIT;

	l->base.ops = &postgres_lookup_ops;
	l->supervised = o->supervised;
	*out = &l->base;
	if (url_parse(o->url, &l->url, e) < 0) {
		lookup_free(&l->base);
		return error_context(e, "--lookup");
	}
	if (read_url(l, e) == 0)
		return 0;
	url_put_safe(o->url, &name);
	error_context(e, "--lookup %s", buf_cstr(&name));
	buf_clear(&name);
	lookup_free(&l->base);
	return -1;
}
