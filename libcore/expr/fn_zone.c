/* Times of places: t at time zone 'Europe/Berlin' and back.  The zone may be a column. */
#include "libcore/expr/kernel.h"

#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/zone.h"

#include <string.h>

/* Zones met so far by this call; streams have few, and the last one mostly comes again. */
enum { ZONES_MAX = 1024 };

struct known_zone {
	char *name;
	size_t len;
	struct zone *zone;                 /* NULL: there is none of that name */
	int64_t from_us, until_us, add_us; /* to local: the span that was asked for last */
};

struct zones {
	struct known_zone *items;
	size_t len, cap, last;
};

static void zones_free(void *state)
{
	struct zones *z = state;

	for (size_t i = 0; i < z->len; i++) {
		mem_free(z->items[i].name);
		zone_free(z->items[i].zone);
	}
	mem_free(z->items);
	mem_free(z);
}

static bool is_called(const struct known_zone *z, struct text_view name)
{
	return z->len == name.len && memcmp(z->name, name.text, name.len) == 0;
}

static struct known_zone *find_zone(struct zones *z, struct text_view name, struct error *e)
{
	struct known_zone *new;

	if (z->last < z->len && is_called(&z->items[z->last], name))
		return &z->items[z->last];
	for (z->last = 0; z->last < z->len; z->last++) {
		if (is_called(&z->items[z->last], name))
			return &z->items[z->last];
	}
	if (z->len == ZONES_MAX) { /* of garbage: begin again */
		for (size_t i = 0; i < z->len; i++) {
			mem_free(z->items[i].name);
			zone_free(z->items[i].zone);
		}
		z->len = z->last = 0;
	}
	MEM_GROW(z->items, z->cap, z->len + 1);
	new = &z->items[z->len++];
	*new = (struct known_zone){
		.name = mem_strndup(name.len ? name.text : "", name.len), .len = name.len};
	if (zone_open(new->name, new->len, &new->zone, e) < 0)
		new->zone = NULL;
	return new;
}

static int64_t saturate(int64_t seconds)
{
	int64_t us;

	return __builtin_mul_overflow(seconds, CIVIL_US_SECOND, &us)
		       ? (seconds < 0 ? INT64_MIN : INT64_MAX)
		       : us;
}

static int64_t to_local(struct known_zone *z, int64_t us)
{
	int64_t from, until;

	if (us < z->from_us || us >= z->until_us) {
		int64_t second = us / CIVIL_US_SECOND - (us % CIVIL_US_SECOND < 0);

		z->add_us = zone_offset(z->zone, second, &from, &until) * CIVIL_US_SECOND;
		z->from_us = saturate(from);
		z->until_us = saturate(until);
	}
	return __builtin_add_overflow(us, z->add_us, &us) ? (z->add_us < 0 ? INT64_MIN : INT64_MAX)
							  : us;
}

static void run(struct kernel *k, bool local)
{
	struct error ignored = ERROR_INIT;
	int64_t *out = vector_data(k);

	for (uint32_t r = 0; r < k->rows; r++) {
		struct known_zone *z;

		out[r] = 0;
		if (!out_is_valid(k, r))
			continue;
		z = find_zone(k->state, arg_text(k, 1, r), &ignored);
		if (!z->zone)
			vector_fail(k, r, "no such time zone");
		else if (local)
			out[r] = to_local(z, arg_int(k, 0, r));
		else
			out[r] = zone_to_utc(z->zone, arg_int(k, 0, r));
	}
	error_clear(&ignored);
}

static void run_to_local(struct kernel *k)
{
	run(k, true);
}

static void run_to_utc(struct kernel *k)
{
	run(k, false);
}

/* A constant name is checked at once. */
static int resolve_zone(struct resolving *r, struct error *e)
{
	const struct vector *v = r->constants[1];

	r->state = mem_zero(sizeof(struct zones));
	r->free_state = zones_free;
	if (!v || !r->args[1].kind || !vector_is_valid(v, 0))
		return 0;
	if (find_zone(r->state, column_text(&v->col, 0), e)->zone)
		return 0;
	zones_free(r->state);
	r->state = NULL;
	return -1;
}

const struct function functions_zone[] = {
	{.name = "at time zone",
		.signature = "ts",
		.result = 't',
		.run = run_to_local,
		.resolve = resolve_zone},
	{.name = "from_utc_timestamp",
		.signature = "ts",
		.result = 't',
		.run = run_to_local,
		.resolve = resolve_zone},
	{.name = "to_utc_timestamp",
		.signature = "ts",
		.result = 't',
		.run = run_to_utc,
		.resolve = resolve_zone},
	{.name = NULL},
};
