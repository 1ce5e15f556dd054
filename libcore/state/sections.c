#include "libcore/state/sections.h"

#include "libcore/base/memory.h"

#include <string.h>

void sections_clear(struct sections *s)
{
	for (size_t i = 0; i < s->len; i++) {
		batch_builder_clear(&s->items[i]->rows);
		schema_clear(&s->items[i]->schema);
		mem_free(s->items[i]);
	}
	mem_free(s->items);
	*s = (struct sections){.items = NULL};
}

static struct section_kept *find(struct sections *s, const char *name)
{
	for (size_t i = 0; i < s->len; i++) {
		if (strcmp(s->items[i]->schema.name, name) == 0)
			return s->items[i];
	}
	return NULL;
}

static struct section_kept *add(struct sections *s, const struct schema *schema)
{
	struct section_kept *k = mem_zero(sizeof *k);

	schema_init(&k->schema);
	schema_copy(&k->schema, schema);
	batch_builder_init(&k->rows, &k->schema);
	MEM_GROW(s->items, s->cap, s->len + 1);
	s->items[s->len++] = k;
	return k;
}

int sections_keep(struct sections *s, const struct batch *b, struct error *e)
{
	const char *name = b->schema->name ? b->schema->name : "";
	struct section_kept *k = find(s, name);

	if (!k)
		k = add(s, b->schema);
	else if (!schema_equal(&k->schema, b->schema))
		return error_set(e, ERROR_STATE, "section '%s' has other columns in another file", name);
	batch_builder_put_rows(&k->rows, b, 0, b->rows);
	return 0;
}

const struct batch *sections_find(struct sections *s, const char *name)
{
	struct section_kept *k = find(s, name);

	return k ? batch_builder_view(&k->rows) : NULL;
}

int sections_put(struct sections *s, struct snapshot_writer *w, struct error *e)
{
	for (size_t i = 0; i < s->len; i++) {
		const struct batch *b = batch_builder_view(&s->items[i]->rows);

		if (snapshot_section(w, &s->items[i]->schema, e) < 0 ||
			(b->rows && snapshot_put(w, b, e) < 0))
			return -1;
	}
	return 0;
}
