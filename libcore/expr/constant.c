/* Expressions that are one value, whatever the row. */
#include "libcore/expr/tree.h"

static const struct expr *find_column(const struct expr *x)
{
	const struct expr *found = x->kind == NODE_COLUMN ? x : NULL;

	for (size_t i = 0; i < x->args_len && !found; i++)
		found = find_column(x->args[i]);
	return found;
}

int expr_constant(const struct expr *x, struct arena *a, struct column *out, struct error *e)
{
	static const uint32_t first = 0;
	struct schema none = SCHEMA_INIT;
	struct batch row = {.schema = &none, .rows = 1};
	const struct expr *column = find_column(x);
	struct program *p;
	struct column value;
	size_t index;
	int status;

	if (column)
		return expr_error(
			column, e, "this must be a constant, not the column '%s'", column->name);
	p = program_new();
	status = program_add(p, x, &none, &index, e);
	if (status == 0)
		status = program_run(p, &row, &value, NULL, e);
	if (status == 0)
		column_gather(&value, &first, 1, a, out);
	program_free(p);
	return status;
}
