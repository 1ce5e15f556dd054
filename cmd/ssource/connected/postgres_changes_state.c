/* The snapshot of a change stream:
 *
 *   section "changes"  one row: relation (the table's oid), lsn, txn_lsn, txn_changes, appends, rows,
 *                      greatest_time, takes_all, over
 *   section "names"    one row: slot, publication, schema (-s; null: none), meta (--meta; null: none)
 *   section "columns"  of each column of the table that is taken: what it is called there and here, its
 *                      type there (that of elements, too), what was declared, its type and form here, and
 *                      its place in the primary key, from 1; 0: none
 *
 * The columns are those of the position's log, which the table may have left behind since. */
#include "cmd/ssource/connected/postgres_changes.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/state/named_section.h"

#include <string.h>

enum { INTS = 9 };
enum { N_SLOT, N_PUBLICATION, N_SCHEMA, N_META, NAMES };
enum {
	C_FROM,
	C_NAME,
	C_TYPE,
	C_OID,
	C_MODIFIER,
	C_KIND,
	C_ELEMENT,
	C_ELEMENT_KIND,
	C_DELIMITER,
	C_DECLARED_OID,
	C_DECLARED_MODIFIER,
	C_FORM,
	C_KEY,
	COLUMNS
};

static const char *const int_names[INTS] = {"relation", "lsn", "txn_lsn", "txn_changes", "appends",
	"rows", "greatest_time", "takes_all", "over"};

static const struct named_column names_columns[NAMES] = {
	[N_SLOT] = {"slot", TYPE_STRING},
	[N_PUBLICATION] = {"publication", TYPE_STRING},
	[N_SCHEMA] = {"schema", TYPE_STRING},
	[N_META] = {"meta", TYPE_STRING},
};

static const struct named_column columns_columns[COLUMNS] = {
	[C_FROM] = {"from", TYPE_STRING},
	[C_NAME] = {"name", TYPE_STRING},
	[C_TYPE] = {"type", TYPE_STRING},
	[C_OID] = {"oid", TYPE_INT},
	[C_MODIFIER] = {"modifier", TYPE_INT},
	[C_KIND] = {"kind", TYPE_INT},
	[C_ELEMENT] = {"element", TYPE_INT},
	[C_ELEMENT_KIND] = {"element_kind", TYPE_INT},
	[C_DELIMITER] = {"delimiter", TYPE_INT},
	[C_DECLARED_OID] = {"declared_oid", TYPE_INT},
	[C_DECLARED_MODIFIER] = {"declared_modifier", TYPE_INT},
	[C_FORM] = {"form", TYPE_INT},
	[C_KEY] = {"key", TYPE_INT},
};

static int put_names(const struct changes *c, struct snapshot_writer *w, struct error *e)
{
	struct named_section s;

	named_section_begin(&s, w, "names", names_columns, NAMES, e);
	builder_put_string(&s.columns[N_SLOT], c->in.slot);
	builder_put_string(&s.columns[N_PUBLICATION], c->publication);
	builder_put_string(&s.columns[N_SCHEMA], c->o->records.schema_text);
	builder_put_string(&s.columns[N_META], c->o->meta);
	named_section_row(&s);
	return named_section_end(&s);
}

static int64_t key_of(const struct changes *c, const char *column)
{
	for (size_t i = 0; i < c->plan.keys_len; i++) {
		if (strcmp(c->plan.keys[i], column) == 0)
			return (int64_t)i + 1;
	}
	return 0;
}

static void put_column(const struct changes *c, const struct planned_column *p,
	struct column_builder *to)
{
	struct buf type = BUF_INIT;

	type_put(p->codec.type, &type);
	builder_put_string(&to[C_FROM], p->from);
	builder_put_string(&to[C_NAME], p->name);
	builder_put_string(&to[C_TYPE], buf_cstr(&type));
	builder_put_int(&to[C_OID], p->type.oid);
	builder_put_int(&to[C_MODIFIER], p->type.modifier);
	builder_put_int(&to[C_KIND], p->type.kind);
	builder_put_int(&to[C_ELEMENT], p->type.element);
	builder_put_int(&to[C_ELEMENT_KIND], p->type.element_kind);
	builder_put_int(&to[C_DELIMITER], p->type.delimiter);
	builder_put_int(&to[C_DECLARED_OID], p->declared_oid);
	builder_put_int(&to[C_DECLARED_MODIFIER], p->declared_modifier);
	builder_put_int(&to[C_FORM], p->codec.form);
	builder_put_int(&to[C_KEY], key_of(c, p->from));
	buf_clear(&type);
}

static int put_columns(const struct changes *c, struct snapshot_writer *w, struct error *e)
{
	struct named_section s;

	named_section_begin(&s, w, "columns", columns_columns, COLUMNS, e);
	for (size_t i = 0; i < c->plan.len; i++) {
		put_column(c, &c->plan.columns[i], s.columns);
		named_section_row(&s);
	}
	return named_section_end(&s);
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

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What was settled then holds; what is asked for now must be the same. */
static int check_name(int which, const char *then, const char *now, struct error *e)
{
	static const char *const options[NAMES] = {
		[N_SLOT] = "slot=", [N_SCHEMA] = "-s", [N_META] = "--meta"};

	if (same(then, now))
		return 0;
	if (!then)
		return error_set(e, ERROR_STATE, "the checkpoint is of no %s", options[which]);
	return error_set(e, ERROR_STATE, "the checkpoint is of %s '%s'", options[which], then);
}

static int take_names(struct changes *c, const struct batch *b, struct error *e)
{
	const char *now[NAMES] = {
		[N_SLOT] = c->in.slot, [N_SCHEMA] = c->o->records.schema_text, [N_META] = c->o->meta};
	const struct column *columns[NAMES];
	int status = 0;

	if (named_section_find(b, names_columns, NAMES, columns, e) < 0)
		return -1;
	for (int i = 0; b->rows && status == 0 && i < NAMES; i++) {
		char *then = column_strdup(columns[i], 0);

		if (i == N_PUBLICATION) {
			c->publication = then;
			continue;
		}
		status = check_name(i, then, now[i], e);
		mem_free(then);
	}
	return status;
}

static int take_column(struct changes *c, const struct column *const *in, uint32_t row,
	struct error *e)
{
	struct text_view type = column_text(in[C_TYPE], row);
	int64_t form = column_int(in[C_FORM], row), key = column_int(in[C_KEY], row);
	char *from = column_strdup(in[C_FROM], row), *name = column_strdup(in[C_NAME], row);
	struct postgres_column column = {.name = from ? from : "",
		.type = {.oid = (uint32_t)column_int(in[C_OID], row),
			.modifier = (int32_t)column_int(in[C_MODIFIER], row),
			.kind = (char)column_int(in[C_KIND], row),
			.element = (uint32_t)column_int(in[C_ELEMENT], row),
			.element_kind = (char)column_int(in[C_ELEMENT_KIND], row),
			.delimiter = (char)column_int(in[C_DELIMITER], row)},
		.declared_oid = (uint32_t)column_int(in[C_DECLARED_OID], row),
		.declared_modifier = (int32_t)column_int(in[C_DECLARED_MODIFIER], row)};
	int status = postgres_plan_add(&c->plan, &column, name, e);
	struct planned_column *p = status == 0 ? &c->plan.columns[c->plan.len - 1] : NULL;

	if (p && (form < POSTGRES_BOOL || form > POSTGRES_OTHER ||
			 type_parse(type.text, type.len, &p->codec.type, e) < 0))
		status = error_set(e, ERROR_STATE, "the checkpoint's columns are damaged");
	if (status == 0) {
		p->codec.form = (enum postgres_form)form;
		c->plan.schema.fields[c->plan.len - 1].type = p->codec.type;
		/* Whole keys only: in their order. */
		if (key > 0)
			postgres_plan_set_key(&c->plan, (size_t)key - 1, p->from);
	}
	mem_free(from);
	mem_free(name);
	return status;
}

static int take_columns(struct changes *c, const struct batch *b, struct error *e)
{
	const struct column *in[COLUMNS];

	if (named_section_find(b, columns_columns, COLUMNS, in, e) < 0)
		return -1;
	for (uint32_t row = 0; row < b->rows; row++) {
		if (take_column(c, in, row, e) < 0)
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
