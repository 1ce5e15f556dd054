#include "cmd/ssource/connected/postgres.h"

#include "formats/records.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

static int double_name(const char *name, struct error *e)
{
	return error_set(e, ERROR_USAGE,
		"two columns are called %s; give one another name: -s '... as other', or AS in the "
		"query",
		name);
}

static int add_column(struct postgres_plan *p, const struct postgres_column *c, const char *name,
	const struct postgres_codec *codec, struct error *e)
{
	if (schema_find(&p->schema, name, strlen(name)) >= 0)
		return double_name(name, e);
	MEM_GROW(p->columns, p->cap, p->len + 1);
	p->columns[p->len++] = (struct planned_column){.from = arena_strdup(&p->arena, c->name),
		.name = arena_strdup(&p->arena, name),
		.type = c->type,
		.codec = *codec,
		.declared_oid = c->declared_oid,
		.declared_modifier = c->declared_modifier};
	schema_add(&p->schema, name, strlen(name), codec->type);
	return 0;
}

/* Forms whose binary or text is the string itself, or can be made one here. */
static bool is_string_by_itself(enum postgres_form f)
{
	return f == POSTGRES_TEXT || f == POSTGRES_UUID || f == POSTGRES_BOOL ||
	       f == POSTGRES_NUMERIC || f == POSTGRES_JSON;
}

/* The type that -s asks for, if there is one. */
static int retype(const struct wanted_column *w, struct postgres_codec *c, struct error *e)
{
	if (!w->type.kind || (type_equal(w->type, c->type) && w->unit == TIME_ISO))
		return 0;
	if (w->type.kind == TYPE_STRING) {
		if (!is_string_by_itself(c->form))
			c->form = POSTGRES_OTHER;
		c->type = w->type;
		return 0;
	}
	if (w->type.kind == TYPE_DECIMAL && c->form == POSTGRES_NUMERIC) {
		c->type = w->type;
		return 0;
	}
	error_set(e, ERROR_USAGE, "-s: the column %s is %s", w->name, type_name(c->type));
	return error_hint(
		e, "it can be taken as %s or as string; smap casts to others", type_name(c->type));
}

static int find_column(
	const struct postgres_column *columns, size_t n, const char *name, struct error *e)
{
	struct schema all = SCHEMA_INIT;
	int index;

	for (size_t i = 0; i < n; i++)
		schema_add(&all, columns[i].name, strlen(columns[i].name), TYPE_OF(TYPE_STRING));
	index = schema_require(&all, name, strlen(name), "the table", e);
	schema_clear(&all);
	return index;
}

static int add_wanted(struct postgres_plan *p, const struct wanted_column *w,
	const struct postgres_column *c, struct error *e)
{
	struct postgres_codec codec = postgres_codec_of(&c->type);

	if (w && retype(w, &codec, e) < 0)
		return -1;
	return add_column(p, c, w ? w->name : c->name, &codec, e);
}

int postgres_plan_add(
	struct postgres_plan *p, const struct postgres_column *c, const char *name, struct error *e)
{
	struct postgres_codec codec = postgres_codec_of(&c->type);

	return add_column(p, c, name ? name : c->name, &codec, e);
}

void postgres_plan_set_key(struct postgres_plan *p, size_t place, const char *column)
{
	if (place >= SCHEMA_FIELDS_MAX)
		return;
	MEM_GROW(p->keys, p->keys_cap, place + 1);
	while (p->keys_len <= place)
		p->keys[p->keys_len++] = "";
	p->keys[place] = arena_strdup(&p->arena, column);
}

/* The item of -s for a column, NULL: it has none. */
static const struct wanted_column *item_for(const struct schema_spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->len; i++) {
		if (strcmp(spec->columns[i].path[0], name) == 0)
			return &spec->columns[i];
	}
	return NULL;
}

static int choose(struct postgres_plan *p, const struct postgres_column *columns, size_t n,
	const struct schema_spec *spec, struct error *e)
{
	for (size_t i = 0; i < spec->len; i++) {
		const struct wanted_column *w = &spec->columns[i];
		int index;

		if (w->path_len > 1)
			return error_set(e, ERROR_USAGE,
				"-s: a path is for nested records; take the column %s, and in smap "
				"%s.%s",
				w->path[0], w->path[0], w->path[1]);
		index = find_column(columns, n, w->path[0], e);
		if (index < 0 || (!spec->star && add_wanted(p, w, &columns[index], e) < 0))
			return -1;
	}
	for (size_t i = 0; spec->star && i < n; i++) {
		if (add_wanted(p, item_for(spec, columns[i].name), &columns[i], e) < 0)
			return -1;
	}
	return 0;
}

int postgres_plan_choose(struct postgres_plan *p, const struct postgres_column *columns, size_t n,
	const char *spec_text, struct error *e)
{
	struct schema_spec spec = {.star = true};

	postgres_plan_clear(p);
	if (spec_text && schema_spec_parse(spec_text, &p->arena, &spec, e) < 0)
		return -1;
	if (n > SCHEMA_FIELDS_MAX || spec.len > SCHEMA_FIELDS_MAX)
		return error_set(e, ERROR_USAGE, "more than %d columns", SCHEMA_FIELDS_MAX);
	p->takes_all = spec.star;
	return choose(p, columns, n, &spec, e);
}

void postgres_plan_clear(struct postgres_plan *p)
{
	schema_clear(&p->schema);
	schema_init(&p->schema);
	arena_clear(&p->arena);
	mem_free(p->columns);
	mem_free(p->keys);
	p->keys = NULL;
	p->keys_len = p->keys_cap = 0;
	p->columns = NULL;
	p->len = p->cap = 0;
}

/* By its output function, as logical replication gives it: a cast to text may say it otherwise
 * (inet gets its /32).  num_nulls, because a composite of nulls "is null". */
static void put_as_text(const char *name, struct buf *out)
{
	buf_put_text(out, "case pg_catalog.num_nulls(");
	postgres_put_name(out, name);
	buf_put_text(out, ") when 0 then pg_catalog.format('%s', ");
	postgres_put_name(out, name);
	buf_put_text(out, ") end");
}

void postgres_plan_put_select(const struct postgres_plan *p, struct buf *out)
{
	for (size_t i = 0; i < p->len; i++) {
		if (i)
			buf_put_text(out, ", ");
		if (postgres_comes_as_text(&p->columns[i].codec))
			put_as_text(p->columns[i].from, out);
		else
			postgres_put_name(out, p->columns[i].from);
	}
}
