/* The aggregate functions by name: apart from what they do, so that who only reads expressions
 * doesn't link them. */
#include "libcore/expr/aggregate_impl.h"

static const struct aggregate_function_row functions[] = {
	{"count", AGGREGATE_COUNT, 1, AGGREGATE_ALL, AGGREGATE_NO_PARAMETER},
	{"sum", AGGREGATE_SUM, 1, AGGREGATE_ADDS, AGGREGATE_NO_PARAMETER},
	{"avg", AGGREGATE_AVG, 1, AGGREGATE_ADDS, AGGREGATE_NO_PARAMETER},
	{"min", AGGREGATE_MIN, 1, AGGREGATE_ALL, AGGREGATE_NO_PARAMETER},
	{"max", AGGREGATE_MAX, 1, AGGREGATE_ALL, AGGREGATE_NO_PARAMETER},
	{"bool_and", AGGREGATE_MIN, 1, AGGREGATE_BOOL, AGGREGATE_NO_PARAMETER},
	{"bool_or", AGGREGATE_MAX, 1, AGGREGATE_BOOL, AGGREGATE_NO_PARAMETER},
	{"first", AGGREGATE_FIRST, 1, AGGREGATE_ALL, AGGREGATE_NO_PARAMETER},
	{"last", AGGREGATE_LAST, 1, AGGREGATE_ALL, AGGREGATE_NO_PARAMETER},
	{"any_value", AGGREGATE_ANY_VALUE, 1, AGGREGATE_ALL, AGGREGATE_NO_PARAMETER},
	{"arg_min", AGGREGATE_ARG_MIN, 2, AGGREGATE_ALL, AGGREGATE_NO_PARAMETER},
	{"arg_max", AGGREGATE_ARG_MAX, 2, AGGREGATE_ALL, AGGREGATE_NO_PARAMETER},
	{"stddev", AGGREGATE_STDDEV, 1, AGGREGATE_NUMBERS, AGGREGATE_NO_PARAMETER},
	{"stddev_samp", AGGREGATE_STDDEV, 1, AGGREGATE_NUMBERS, AGGREGATE_NO_PARAMETER},
	{"stddev_pop", AGGREGATE_STDDEV_POP, 1, AGGREGATE_NUMBERS, AGGREGATE_NO_PARAMETER},
	{"variance", AGGREGATE_VARIANCE, 1, AGGREGATE_NUMBERS, AGGREGATE_NO_PARAMETER},
	{"var_samp", AGGREGATE_VARIANCE, 1, AGGREGATE_NUMBERS, AGGREGATE_NO_PARAMETER},
	{"var_pop", AGGREGATE_VARIANCE_POP, 1, AGGREGATE_NUMBERS, AGGREGATE_NO_PARAMETER},
	{"median", AGGREGATE_QUANTILE, 1, AGGREGATE_BETWEEN, AGGREGATE_NO_PARAMETER},
	{"quantile", AGGREGATE_QUANTILE, 1, AGGREGATE_BETWEEN, AGGREGATE_FRACTION},
	{"approx_quantile", AGGREGATE_APPROX_QUANTILE, 1, AGGREGATE_SCALE, AGGREGATE_FRACTION},
	{"approx_count_distinct", AGGREGATE_APPROX_COUNT_DISTINCT, 1, AGGREGATE_HASHED,
		AGGREGATE_NO_PARAMETER},
	{"string_agg", AGGREGATE_STRING_AGG, 1, AGGREGATE_TEXT, AGGREGATE_SEPARATOR},
	{"array_agg", AGGREGATE_ARRAY_AGG, 1, AGGREGATE_ANY, AGGREGATE_NO_PARAMETER},
};

enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* The same names as a list of texts. */
size_t aggregate_names(const char *const **out)
{
	static const char *const names[] = {"count", "sum", "avg", "min", "max", "bool_and",
		"bool_or", "first", "last", "any_value", "arg_min", "arg_max", "stddev",
		"stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop", "median",
		"quantile", "approx_quantile", "approx_count_distinct", "string_agg", "array_agg"};
	_Static_assert(sizeof names / sizeof *names == FUNCTIONS, "a name for every function");

	*out = names;
	return FUNCTIONS;
}

const struct aggregate_function_row *aggregate_function_find(const char *name)
{
	for (size_t i = 0; i < FUNCTIONS; i++) {
		if (strcmp(functions[i].name, name) == 0)
			return &functions[i];
	}
	return NULL;
}

bool aggregate_has_parameter(const char *function)
{
	const struct aggregate_function_row *f = aggregate_function_find(function);

	return f && f->parameter != AGGREGATE_NO_PARAMETER;
}
