/* The snapshot of a change stream:
 *
 *   section "changes"   one row: relation (the table's oid), lsn, txn_lsn, txn_changes, appends,
 * rows, greatest_time, takes_all section "names"     one row: slot, publication, schema (-s; null:
 * none), meta (--meta; null: none) section "columns"   of each column of the table that is taken:
 * from, name, oid, modifier, kind, element, element_kind, delimiter, declared_oid,
 * declared_modifier, type, form, key (its place in the primary key, from 1; 0: none)
 *
 * The columns are those of the position's log, which the table may have left behind since. */
#include "cmd/ssource/connected/postgres_changes.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/state/snapshot.h"

#include <string.h>

enum { INTS = 9, NAMES = 4, TEXTS = 3, NUMBERS = 9 };

static const char *const int_names[INTS] = {"relation", "lsn", "txn_lsn", "txn_changes", "appends",
	"rows", "greatest_time", "takes_all", "over"};
static const char *const name_names[NAMES] = {"slot", "publication", "schema", "meta"};
static const char *const text_names[TEXTS] = {"from", "name", "type"};
static const char *const number_names[NUMBERS] = {"oid", "modifier", "kind", "element",
	"element_kind", "delimiter", "declared_oid", "declared_modifier", "form"};

static void add(struct schema *s, const char *name, enum type_kind kind)
{
	schema_add(s, name, strlen(name), TYPE_OF(kind));
}

static void put_text(struct column_builder *b, const char *text)
{
	if (text)
		builder_put_text(b, text, strlen(text));
	else
		builder_put_null(b);
}

static int put_section(
	struct snapshot_writer *w, const struct schema *s, struct batch_builder *b, struct error *e)
{
	return snapshot_section(w, s, e) < 0 ? -1 : snapshot_put(w, batch_builder_view(b), e);
}

static int put_names(const struct changes *c, struct snapshot_writer *w, struct error *e)
{
	const char *values[NAMES] = {
		c->in.slot, c->publication, c->o->records.schema_text, c->o->meta};
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;
	int status;

	schema_set_name(&s, "names");
	for (int i = 0; i < NAMES; i++)
		add(&s, name_names[i], TYPE_STRING);
	batch_builder_init(&b, &s);
	for (int i = 0; i < NAMES; i++)
		put_text(&b.columns[i], values[i]);
	status = put_section(w, &s, &b, e);
	batch_builder_clear(&b);
	schema_clear(&s);
	return status;
}

static void put_column(const struct planned_column *p, struct batch_builder *b)
{
	int64_t numbers[NUMBERS] = {p->type.oid, p->type.modifier, p->type.kind, p->type.element,
		p->type.element_kind, p->type.delimiter, p->declared_oid, p->declared_modifier,
		p->codec.form};
	struct buf type = BUF_INIT;

	put_text(&b->columns[0], p->from);
	put_text(&b->columns[1], p->name);
	type_put(p->codec.type, &type);
	put_text(&b->columns[2], buf_cstr(&type));
	buf_clear(&type);
	for (int i = 0; i < NUMBERS; i++)
		builder_put_int(&b->columns[TEXTS + i], numbers[i]);
}

static int64_t key_of(const struct changes *c, const char *column)
{
	for (size_t i = 0; i < c->plan.keys_len; i++) {
		if (strcmp(c->plan.keys[i], column) == 0)
			return (int64_t)i + 1;
	}
	return 0;
}

static int put_columns(const struct changes *c, struct snapshot_writer *w, struct error *e)
{
	struct schema s = SCHEMA_INIT;
	struct batch_builder b;
	int status;

	schema_set_name(&s, "columns");
	for (int i = 0; i < TEXTS; i++)
		add(&s, text_names[i], TYPE_STRING);
	for (int i = 0; i < NUMBERS; i++)
		add(&s, number_names[i], TYPE_INT);
	add(&s, "key", TYPE_INT);
	batch_builder_init(&b, &s);
	for (size_t i = 0; i < c->plan.len; i++) {
		put_column(&c->plan.columns[i], &b);
		builder_put_int(&b.columns[TEXTS + NUMBERS], key_of(c, c->plan.columns[i].from));
	}
	status = put_section(w, &s, &b, e);
	batch_builder_clear(&b);
	schema_clear(&s);
	return status;
}

int changes_put(const struct changes *c, struct snapshot_writer *w, struct error *e)
{
	int64_t values[INTS] = {c->relation, (int64_t)c->at.lsn, (int64_t)c->at.txn_lsn,
		(int64_t)c->at.txn_changes, c->appends, (int64_t)c->clockwork.rows,
		c->partition->greatest_us, c->plan.takes_all, c->phase == CHANGES_OVER};

	/* Nothing has been read yet: what is restored begins anew. */
	if (c->phase == CHANGES_NEW && !c->is_restored)
		return 0;
	if (snapshot_put_ints(w, "changes", int_names, values, INTS, e) < 0 ||
		put_names(c, w, e) < 0)
		return -1;
	return put_columns(c, w, e);
}

/* ---- back ---- */

static int take_ints(struct changes *c, const struct batch *b, struct error *e)
{
	int64_t v[INTS];
	bool found;

	if (snapshot_read_ints(b, "changes", int_names, v, INTS, &found, e) < 0)
		return -1;
	if (!found)
		return 0;
	c->relation = (uint32_t)v[0];
	c->at = (struct changes_position){(uint64_t)v[1], (uint64_t)v[2], (uint64_t)v[3]};
	c->confirmed_lsn = c->at.lsn;
	c->appends = v[4] != 0;
	c->clockwork.rows = (uint64_t)v[5];
	c->partition->greatest_us = v[6];
	c->plan.takes_all = v[7] != 0;
	c->is_restored = true;
	if (v[8])
		c->phase = CHANGES_OVER;
	return 0;
}

static char *text_at(const struct column *c, uint32_t row)
{
	struct text_view t;

	if (!column_is_valid(c, row))
		return NULL;
	t = column_text(c, row);
	return mem_strndup(t.text, t.len);
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static int take_names(struct changes *c, const struct batch *b, struct error *e)
{
	const char *now[NAMES] = {c->in.slot, NULL, c->o->records.schema_text, c->o->meta};
	static const char *const options[NAMES] = {"slot=", "publication=", "-s", "--meta"};
	int status = 0;

	for (int i = 0; b->rows && status == 0 && i < NAMES; i++) {
		const struct column *column;
		char *then;

		if (snapshot_column(b, name_names[i], TYPE_OF(TYPE_STRING), &column, e) < 0)
			return -1;
		then = text_at(column, 0);
		if (i == 1) {
			c->publication = then;
			continue;
		}
		if (!same(then, now[i]))
			status = error_set(e, ERROR_STATE, "the checkpoint is of %s%s%s%s",
				then ? options[i] : "no ", then ? " '" : options[i],
				then ? then : "", then ? "'" : "");
		mem_free(then);
	}
	return status;
}

static int take_column(struct changes *c, const struct column *texts, const struct column *numbers,
	uint32_t row, struct error *e)
{
	struct text_view type = column_text(&texts[2], row);
	int64_t v[NUMBERS + 1];
	struct postgres_column column;
	struct planned_column *p;
	char *from = text_at(&texts[0], row), *name = text_at(&texts[1], row);
	int status;

	for (int i = 0; i < NUMBERS + 1; i++)
		v[i] = column_int(&numbers[i], row);
	column = (struct postgres_column){.name = from ? from : "",
		.type = {.oid = (uint32_t)v[0],
			.modifier = (int32_t)v[1],
			.kind = (char)v[2],
			.element = (uint32_t)v[3],
			.element_kind = (char)v[4],
			.delimiter = (char)v[5]},
		.declared_oid = (uint32_t)v[6],
		.declared_modifier = (int32_t)v[7]};
	status = postgres_plan_add(&c->plan, &column, name, e);
	p = status == 0 ? &c->plan.columns[c->plan.len - 1] : NULL;
	if (p && (v[8] < POSTGRES_BOOL || v[8] > POSTGRES_OTHER ||
			 type_parse(type.text, type.len, &p->codec.type, e) < 0))
		status = error_set(e, ERROR_STATE, "the checkpoint's columns are damaged");
	if (status == 0) {
		p->codec.form = (enum postgres_form)v[8];
		c->plan.schema.fields[c->plan.len - 1].type = p->codec.type;
		/* Whole keys only: in their order. */
		if (v[NUMBERS] > 0)
			postgres_plan_set_key(&c->plan, (size_t)v[NUMBERS] - 1, p->from);
	}
	mem_free(from);
	mem_free(name);
	return status;
}

static int take_columns(struct changes *c, const struct batch *b, struct error *e)
{
	struct column texts[TEXTS], numbers[NUMBERS + 1];
	const struct column *found;

	for (int i = 0; i < TEXTS; i++) {
		if (snapshot_column(b, text_names[i], TYPE_OF(TYPE_STRING), &found, e) < 0)
			return -1;
		texts[i] = *found;
	}
	for (int i = 0; i < NUMBERS + 1; i++) {
		const char *name = i < NUMBERS ? number_names[i] : "key";

		if (snapshot_column(b, name, TYPE_OF(TYPE_INT), &found, e) < 0)
			return -1;
		numbers[i] = *found;
	}
	for (uint32_t row = 0; row < b->rows; row++) {
		if (take_column(c, texts, numbers, row, e) < 0)
			return -1;
	}
	return 0;
}

int changes_take(struct changes *c, struct snapshot_reader *r, struct error *e)
{
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		const char *section = b->schema->name ? b->schema->name : "";
		int taken = !strcmp(section, "names")                   ? take_names(c, b, e)
			    : !strcmp(section, "columns")               ? take_columns(c, b, e)
			    : source_check_section(b, "changes", e) < 0 ? -1
									: take_ints(c, b, e);

		if (taken < 0)
			return -1;
	}
	return status < 0 ? -1 : 0;
}
