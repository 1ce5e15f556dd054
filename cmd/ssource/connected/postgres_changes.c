#include "cmd/ssource/connected/postgres.h"

int source_new_postgres_changes(const struct source_options *o, struct postgres_input *in,
	struct operator** out, struct error *e)
{
	postgres_input_clear(in);
	return error_set(e, ERROR_USAGE, "changes aren't followed yet");
}
