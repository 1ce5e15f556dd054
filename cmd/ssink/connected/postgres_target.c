#include "cmd/ssink/connected/postgres_target.h"

#include "libcore/base/memory.h"
#include "libcore/base/suggest.h"

#include <stdlib.h>
#include <string.h>

enum {
	TYPMOD_SECONDS_MAX = 6,
	NUMERIC_HEADER = 4,         /* of a modifier: in front of precision and scale */
	NUMERIC_SCALE_SIGN = 0x400, /* of the eleven bits of a scale */
	INTERVAL_ALL = 0xffff,
};

/* ---- what the catalog says ---- */

/* A domain is what it is made of, with the first modifier on the way. */
static const char columns_sql[] =
	"with recursive col as ("
	" select a.attnum, a.attname, a.atttypid as type, a.atttypmod as modifier, a.attnotnull,"
	"  a.atthasdef or a.attidentity <> '' as has_default, a.attgenerated <> '' as is_generated,"
	"  format_type(a.atttypid, a.atttypmod) as said,"
	"  coalesce(not l.collisdeterministic, false) as loose"
	" from pg_attribute a left join pg_collation l on l.oid = a.attcollation"
	" where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped"
	" union all"
	" select c.attnum, c.attname, t.typbasetype,"
	"  case when c.modifier >= 0 then c.modifier else t.typtypmod end,"
	"  c.attnotnull or t.typnotnull, c.has_default or t.typdefault is not null, c.is_generated,"
	"  c.said, c.loose"
	" from col c join pg_type t on t.oid = c.type where t.typtype = 'd') "
	"select c.attname, c.said, t.oid, c.modifier, t.typtype, c.attnotnull, c.has_default,"
	" c.is_generated, c.loose or t.typname = 'citext',"
	" coalesce(el.oid, 0), coalesce(el.typtype, 'b'),"
	" coalesce(el.typdelim, ',') "
	"from col c join pg_type t on t.oid = c.type"
	" left join pg_type el on el.oid = t.typelem and t.typinput = 'array_in'::regproc "
	"where t.typtype <> 'd' order by c.attnum";

static const char unique_sql[] =
	"select string_agg(a.attname, chr(1) order by a.attname collate \"C\") "
	"from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality k(n, at)"
	" join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n "
	"where i.indrelid = $1::oid and i.indisunique and i.indisvalid and i.indimmediate"
	" and i.indpred is null and i.indexprs is null and k.at <= i.indnkeyatts group by "
	"i.indexrelid";

static bool is_true(const PGresult *r, int row, int column)
{
	return *PQgetvalue(r, row, column) == 't';
}

static void add_column(struct target *t, const PGresult *r, int row)
{
	struct target_column c = {
		.name = mem_strdup(PQgetvalue(r, row, 0)),
		.type = mem_strdup(PQgetvalue(r, row, 1)),
		.of = {.oid = (uint32_t)strtoul(PQgetvalue(r, row, 2), NULL, 10),
			.modifier = (int32_t)strtol(PQgetvalue(r, row, 3), NULL, 10),
			.kind = *PQgetvalue(r, row, 4),
			.element = (uint32_t)strtoul(PQgetvalue(r, row, 9), NULL, 10),
			.element_kind = *PQgetvalue(r, row, 10),
			.delimiter = *PQgetvalue(r, row, 11)},
		.not_null = is_true(r, row, 5),
		.has_default = is_true(r, row, 6),
		.is_generated = is_true(r, row, 7),
		.is_fuzzy = is_true(r, row, 8),
	};

	c.is_fuzzy = c.is_fuzzy || c.of.oid == OID_BPCHAR;
	MEM_GROW(t->columns, t->columns_cap, t->columns_len + 1);
	t->columns[t->columns_len++] = c;
}

static int read_columns(struct postgres *p, const char *oid, struct target *t, struct error *e)
{
	PGresult *r;

	if (postgres_run_with(p, columns_sql, &oid, 1, false, &r, e) < 0)
		return -1;
	for (int i = 0; i < PQntuples(r); i++)
		add_column(t, r, i);
	PQclear(r);
	if (postgres_run_with(p, unique_sql, &oid, 1, false, &r, e) < 0)
		return -1;
	for (int i = 0; i < PQntuples(r); i++) {
		MEM_GROW(t->unique, t->unique_cap, t->unique_len + 1);
		t->unique[t->unique_len++] = mem_strdup(PQgetvalue(r, i, 0));
	}
	PQclear(r);
	return 0;
}

int target_read(
	struct postgres *p, const struct postgres_table *table, struct target *out, struct error *e)
{
	struct buf name = BUF_INIT;
	const char *text;
	char *oid = NULL;
	int status;

	*out = (struct target){.columns_len = 0};
	postgres_table_put(table, &name);
	text = buf_cstr(&name);
	status = postgres_ask(p, "select to_regclass($1)::oid", &text, 1, &oid, e);
	if (status == 0 && !oid)
		status = 1;
	if (status == 0) {
		out->table = mem_strdup(text);
		status = read_columns(p, oid, out, e);
	}
	if (status < 0)
		target_clear(out);
	mem_free(oid);
	buf_clear(&name);
	return status;
}

void target_clear(struct target *t)
{
	for (size_t i = 0; i < t->columns_len; i++) {
		mem_free(t->columns[i].name);
		mem_free(t->columns[i].type);
	}
	for (size_t i = 0; i < t->unique_len; i++)
		mem_free(t->unique[i]);
	mem_free(t->columns);
	mem_free(t->unique);
	mem_free(t->table);
	*t = (struct target){.columns_len = 0};
}

/* ---- a new table ---- */

void target_put_create(const struct postgres_table *t, const struct schema *s,
	const char *const *keys, size_t keys_len, struct buf *out)
{
	buf_put_text(out, "create table if not exists ");
	postgres_table_put(t, out);
	buf_put_text(out, " (");
	for (size_t i = 0; i < s->fields_len; i++) {
		buf_put_text(out, i ? ", " : "");
		postgres_put_name(out, s->fields[i].name);
		buf_put_byte(out, ' ');
		postgres_put_type(s->fields[i].type, out);
	}
	for (size_t i = 0; i < keys_len; i++) {
		buf_put_text(out, i ? ", " : ", primary key (");
		postgres_put_name(out, keys[i]);
	}
	buf_put_text(out, keys_len ? "))" : ")");
}

/* ---- how a stream fits ---- */

static const struct target_column *find(const struct target *t, const char *name)
{
	for (size_t i = 0; i < t->columns_len; i++) {
		if (!strcmp(t->columns[i].name, name))
			return &t->columns[i];
	}
	return NULL;
}

static int hint_lists(const struct target *t, const struct schema *s, struct error *e)
{
	struct buf ours = BUF_INIT, theirs = BUF_INIT;

	schema_put(s, &ours);
	for (size_t i = 0; i < t->columns_len; i++) {
		buf_put_text(&theirs, i ? ", " : "");
		schema_put_name(t->columns[i].name, &theirs);
		buf_printf(&theirs, " %s", t->columns[i].type);
	}
	error_hint(e, "the stream has %s", buf_cstr(&ours));
	error_hint(e, "the table has %s", buf_cstr(&theirs));
	buf_clear(&ours);
	buf_clear(&theirs);
	return -1;
}

static int unknown(
	const struct target *t, const struct schema *s, const char *name, struct error *e)
{
	const char **names = mem_alloc((t->columns_len + 1) * sizeof *names);
	int near;

	for (size_t i = 0; i < t->columns_len; i++)
		names[i] = t->columns[i].name;
	near = suggest(name, strlen(name), names, t->columns_len);
	error_set(e, ERROR_USAGE, "table %s has no column '%s'", t->table, name);
	if (near >= 0)
		error_hint(e, "rename it in front: smap '* rename (%s as %s)'", name, names[near]);
	mem_free(names);
	return hint_lists(t, s, e);
}

static int mistyped(const struct target *t, const struct schema *s, const struct field *f,
	const struct target_column *c, struct error *e)
{
	static const struct {
		const char *type;
		uint32_t oids[4];
	} casts[] = {
		{"int", {OID_INT2, OID_INT4, OID_INT8, OID_OID}},
		{"float", {OID_FLOAT4, OID_FLOAT8}},
		{"string", {OID_TEXT, OID_VARCHAR, OID_BPCHAR}},
		{"bool", {OID_BOOL}},
		{"date", {OID_DATE}},
		{"timestamp", {OID_TIMESTAMP, OID_TIMESTAMPTZ}},
		{"duration", {OID_INTERVAL}},
	};
	struct type shape;
	const char *cast = NULL;

	error_set(e, ERROR_USAGE, "column '%s' is %s, and table %s has it as %s", f->name,
		type_name(f->type), t->table, c->type);
	for (size_t i = 0; i < sizeof casts / sizeof *casts; i++) {
		for (size_t k = 0; k < 4; k++)
			cast = casts[i].oids[k] && casts[i].oids[k] == c->of.oid ? casts[i].type
										 : cast;
	}
	if (c->of.oid == OID_NUMERIC)
		cast = postgres_numeric_shape(c->of.modifier, &shape) ? type_name(shape)
								      : "decimal(38,6)";
	if (cast)
		error_hint(e, "convert it in front: smap '*, cast(%s as %s) as %s'", f->name, cast,
			f->name);
	return hint_lists(t, s, e);
}

/* The server rounds to a numeric's scale without a word. */
static bool loses_digits(struct type t, const struct target_column *c)
{
	struct type shape;

	if (c->of.oid != OID_NUMERIC || c->of.modifier < NUMERIC_HEADER)
		return false;
	if ((c->of.modifier - NUMERIC_HEADER) & NUMERIC_SCALE_SIGN)
		return true;
	if (!postgres_numeric_shape(c->of.modifier, &shape))
		return false;
	return t.kind == TYPE_STRING || (t.kind == TYPE_DECIMAL && t.scale > shape.scale);
}

/* timestamp(3) and its like. */
static int64_t unit_of(const struct target_column *c)
{
	int32_t digits = c->of.modifier;
	int64_t unit_us = 1;

	if (c->of.oid == OID_INTERVAL && digits >= 0)
		digits &= INTERVAL_ALL;
	if ((c->of.oid != OID_TIMESTAMP && c->of.oid != OID_TIMESTAMPTZ &&
		    c->of.oid != OID_INTERVAL) ||
		digits < 0 || digits >= TYPMOD_SECONDS_MAX)
		return 0;
	for (int i = digits; i < TYPMOD_SECONDS_MAX; i++)
		unit_us *= 10;
	return unit_us;
}

/* What goes there without loss; all else has a cast in front that says how. */
static bool takes(struct type t, enum postgres_form form, const struct target_column *c)
{
	if (form == POSTGRES_ARRAY)
		return t.kind == TYPE_STRING || t.kind == TYPE_ANY;
	return postgres_takes(t, form) && !loses_digits(t, c);
}

static int match_column(const struct target *t, const struct schema *s, int i,
	struct rows_column *out, bool *is_text, struct error *e)
{
	const struct field *f = &s->fields[i];
	const struct target_column *c = find(t, f->name);
	struct postgres_codec codec;

	if (!c)
		return unknown(t, s, f->name, e);
	if (c->is_generated) {
		error_set(e, ERROR_USAGE, "table %s computes its column '%s' itself", t->table,
			f->name);
		return error_hint(e, "leave it out: smap '* except (%s)'", f->name);
	}
	codec = postgres_codec_of(&c->of);
	if (!takes(f->type, codec.form, c))
		return mistyped(t, s, f, c, e);
	*out = (struct rows_column){.column = i,
		.form = codec.form,
		.element = codec.element,
		.delimiter = codec.delimiter ? codec.delimiter : ',',
		.unit_us = unit_of(c),
		.type = c->type};
	*is_text = *is_text || !rows_is_binary(codec.form);
	return 0;
}

int target_match(const struct target *t, const struct schema *s, struct rows_column **columns,
	bool *is_text, struct error *e)
{
	struct rows_column *found = mem_alloc((s->fields_len + 1) * sizeof *found);
	int status = 0;

	*is_text = false;
	for (size_t i = 0; i < s->fields_len && status == 0; i++)
		status = match_column(t, s, (int)i, &found[i], is_text, e);
	for (size_t i = 0; i < t->columns_len && status == 0; i++) {
		const struct target_column *c = &t->columns[i];

		if (!c->not_null || c->has_default || c->is_generated ||
			schema_find(s, c->name, strlen(c->name)) >= 0)
			continue;
		error_set(e, ERROR_USAGE,
			"table %s needs a value for its column '%s', and the stream has "
			"none",
			t->table, c->name);
		status = hint_lists(t, s, e);
	}
	if (status < 0)
		mem_free(found);
	else
		*columns = found;
	return status;
}

/* ---- keys ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* As unique_sql has them. */
static void put_sorted(const char *const *keys, size_t n, struct buf *out)
{
	const char **sorted = mem_alloc((n + 1) * sizeof *sorted);

	memcpy(sorted, keys, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, compare_names);
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%s%s", i ? "\1" : "", sorted[i]);
	mem_free(sorted);
}

/* Whether values that the server takes for equal are so here. */
static bool is_exact(enum postgres_form form)
{
	switch (form) {
	case POSTGRES_BOOL:
	case POSTGRES_INT2:
	case POSTGRES_INT4:
	case POSTGRES_INT8:
	case POSTGRES_OID:
	case POSTGRES_FLOAT8:
	case POSTGRES_NUMERIC: /* but of text: apply */
	case POSTGRES_DATE:
	case POSTGRES_TIMESTAMP:
	case POSTGRES_INTERVAL:
	case POSTGRES_TEXT:
	case POSTGRES_UUID: /* in its usual form: apply */
	case POSTGRES_BYTEA: return true;
	case POSTGRES_FLOAT4:
	case POSTGRES_JSON:
	case POSTGRES_JSONB:
	case POSTGRES_ARRAY:
	case POSTGRES_OTHER: return false;
	}
	return false;
}

static int check_key(const struct target *t, const char *key, struct error *e)
{
	const struct target_column *c = find(t, key);

	if (!c)
		return error_set(
			e, ERROR_USAGE, "--upsert: table %s has no column '%s'", t->table, key);
	if (!c->is_fuzzy && !unit_of(c) && is_exact(postgres_codec_of(&c->of).form))
		return 0;
	return error_set(e, ERROR_USAGE,
		"--upsert: values of column '%s' (%s) that look different may be "
		"equal, so that it can't be told which row comes last",
		key, c->type);
}

int target_check_keys(
	const struct target *t, const char *const *keys, size_t keys_len, struct error *e)
{
	struct buf wanted = BUF_INIT, said = BUF_INIT;
	bool found = false;
	int status = 0;

	for (size_t k = 0; k < keys_len && status == 0; k++)
		status = check_key(t, keys[k], e);
	put_sorted(keys, keys_len, &wanted);
	for (size_t i = 0; i < t->unique_len; i++)
		found = found || !strcmp(t->unique[i], buf_cstr(&wanted));
	if (status == 0 && !found) {
		for (size_t k = 0; k < keys_len; k++) {
			buf_put_text(&said, k ? ", " : "");
			postgres_put_name(&said, keys[k]);
		}
		error_set(e, ERROR_USAGE, "--upsert: table %s has no unique index on exactly (%s)",
			t->table, buf_cstr(&said));
		status = error_hint(e, "create unique index on %s (%s)", t->table, buf_cstr(&said));
	}
	buf_clear(&wanted);
	buf_clear(&said);
	return status;
}
