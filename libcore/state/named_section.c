#include "libcore/state/named_section.h"

#include <string.h>

void named_section_begin(struct named_section *s, struct snapshot_writer *to, const char *name,
	const struct named_column *columns, size_t n, struct error *e)
{
	*s = (struct named_section){.to = to, .schema = SCHEMA_INIT, .e = e};
	schema_set_name(&s->schema, name);
	for (size_t i = 0; i < n; i++)
		schema_add(&s->schema, columns[i].name, strlen(columns[i].name), TYPE_OF(columns[i].kind));
	batch_builder_init(&s->rows, &s->schema);
	s->columns = s->rows.columns;
	s->status = snapshot_section(to, &s->schema, e);
}

static void put_rows(struct named_section *s)
{
	if (s->status == 0)
		s->status = snapshot_put(s->to, batch_builder_view(&s->rows), s->e);
	batch_builder_reset(&s->rows);
}

void named_section_row(struct named_section *s)
{
	if (batch_builder_is_full(&s->rows))
		put_rows(s);
}

int named_section_end(struct named_section *s)
{
	if (batch_builder_rows(&s->rows))
		put_rows(s);
	batch_builder_clear(&s->rows);
	schema_clear(&s->schema);
	return s->status;
}

int named_section_find(const struct batch *b, const struct named_column *columns, size_t n,
	const struct column **out, struct error *e)
{
	for (size_t i = 0; i < n; i++) {
		if (snapshot_column(b, columns[i].name, TYPE_OF(columns[i].kind), &out[i], e) < 0)
			return -1;
	}
	return 0;
}
