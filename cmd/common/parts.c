#include "cmd/common/parts.h"

#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

struct part {
	char *sub;
	struct output_part *file;
	struct sheet sheet;
	uint64_t schema_number; /* which of the stream's schemas its sheet knows */
	uint64_t used;          /* when it last had rows, in turns */
	int64_t opened_us;
	uint64_t opened_turn;
};

struct parts {
	struct parts_options o;
	struct output *output;
	struct schema whole; /* without a partition: what rows have */
	uint64_t schema_number;
	uint64_t turn;
	uint64_t gave_way; /* parts finished for want of room */
	struct part **open;
	size_t open_len, open_cap;
	struct buf text;
};

struct parts *parts_new(const struct parts_options *o, struct output *output)
{
	struct parts *p = mem_zero(sizeof *p);

	p->o = *o;
	p->output = output;
	if (!p->o.open_max)
		p->o.open_max = PARTS_OPEN_DEFAULT;
	schema_init(&p->whole);
	return p;
}

static void part_free(struct part *part)
{
	output_part_free(part->file);
	sheet_close(&part->sheet);
	mem_free(part->sub);
	mem_free(part);
}

void parts_free(struct parts *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->open_len; i++)
		part_free(p->open[i]);
	mem_free(p->open);
	schema_clear(&p->whole);
	buf_clear(&p->text);
	mem_free(p);
}

/* ---- completing ---- */

static bool shows_at_once(const struct parts *p)
{
	return p->o.roll.bytes || p->o.roll.age_us;
}

static int put_text(struct parts *p, struct part *part, struct error *e)
{
	int status = p->text.len ? output_part_put(p->output, part->file, &p->text, e) : 0;

	buf_reset(&p->text);
	return status;
}

/* It leaves the list, also on error. */
static int finish(struct parts *p, size_t i, struct error *e)
{
	struct part *part = p->open[i];
	struct output_part *file;
	int status = -1;

	p->open[i] = p->open[--p->open_len];
	buf_reset(&p->text);
	if (sheet_end(&part->sheet, &p->text, e) == 0 && put_text(p, part, e) == 0) {
		file = part->file;
		part->file = NULL;
		status = output_part_finish(p->output, file, shows_at_once(p), e);
	}
	part_free(part);
	return status;
}

/* In the order in which they were opened, which their names then have. */
int parts_finish(struct parts *p, struct error *e)
{
	while (p->open_len) {
		size_t first = 0;

		for (size_t i = 1; i < p->open_len; i++) {
			if (p->open[i]->opened_turn < p->open[first]->opened_turn)
				first = i;
		}
		if (finish(p, first, e) < 0)
			return -1;
	}
	return 0;
}

bool parts_are_scattered(const struct parts *p)
{
	enum { TIMES = 5 }; /* the open ones, each finished so often */

	return p->gave_way > (uint64_t)p->o.open_max * TIMES;
}

static int finish_idlest(struct parts *p, struct error *e)
{
	size_t idlest = 0;

	p->gave_way++;
	for (size_t i = 1; i < p->open_len; i++) {
		if (p->open[i]->used < p->open[idlest]->used)
			idlest = i;
	}
	return finish(p, idlest, e);
}

int parts_tick(struct parts *p, int64_t now_us, int64_t *next_us, struct error *e)
{
	int64_t age_us = p->o.roll.age_us;

	*next_us = -1;
	for (size_t i = p->open_len; age_us && i-- > 0;) {
		int64_t left_us = p->open[i]->opened_us + age_us - now_us;

		if (left_us <= 0 && finish(p, i, e) < 0)
			return -1;
		if (left_us > 0 && (*next_us < 0 || left_us < *next_us))
			*next_us = left_us;
	}
	return 0;
}

/* ---- rows ---- */

int parts_schema(struct parts *p, const struct schema *s, struct error *e)
{
	if (p->o.partition && partition_schema(p->o.partition, s, e) < 0)
		return -1;
	schema_clear(&p->whole);
	schema_copy(&p->whole, s);
	p->schema_number++;
	return 0;
}

static size_t find(const struct parts *p, const char *sub)
{
	size_t i = 0;

	while (i < p->open_len && strcmp(p->open[i]->sub, sub) != 0)
		i++;
	return i;
}

static int open_part(struct parts *p, const char *sub, int64_t now_us, struct error *e)
{
	struct part *part;

	if (p->open_len >= p->o.open_max && finish_idlest(p, e) < 0)
		return -1;
	part = mem_zero(sizeof *part);
	if (sheet_open(&part->sheet, p->o.format, &p->o.writer, e) < 0) {
		mem_free(part);
		return -1;
	}
	part->sub = mem_strdup(sub);
	part->file = output_part_new(p->output, sub);
	part->opened_us = now_us;
	part->opened_turn = p->turn;
	MEM_GROW(p->open, p->open_cap, p->open_len + 1);
	p->open[p->open_len++] = part;
	return 0;
}

static int put_rows(
	struct parts *p, const struct batch *b, const char *sub, int64_t now_us, struct error *e)
{
	size_t i = find(p, sub);
	struct part *part;

	p->turn++;
	if (i == p->open_len) {
		if (open_part(p, sub, now_us, e) < 0)
			return -1;
		i = p->open_len - 1;
	}
	part = p->open[i];
	part->used = p->turn;
	buf_reset(&p->text);
	if (part->schema_number != p->schema_number &&
		sheet_begin(&part->sheet, b->schema, &p->text, e) < 0)
		return -1;
	part->schema_number = p->schema_number;
	if (sheet_rows(&part->sheet, b, &p->text, e) < 0 || put_text(p, part, e) < 0)
		return -1;
	if (p->o.roll.bytes && output_part_bytes(part->file) >= p->o.roll.bytes)
		return finish(p, i, e);
	return 0;
}

int parts_rows(struct parts *p, const struct batch *b, int64_t now_us, struct error *e)
{
	int n;

	MUST(p->schema_number);
	if (!b->rows)
		return 0;
	if (!p->o.partition) {
		struct batch rows = *b;

		rows.schema = &p->whole;
		return put_rows(p, &rows, "", now_us, e);
	}
	n = partition_split(p->o.partition, b, e);
	for (int i = 0; i < n; i++) {
		struct batch rows;
		const char *sub;

		partition_part(p->o.partition, (uint32_t)i, &rows, &sub);
		if (put_rows(p, &rows, sub, now_us, e) < 0)
			return -1;
	}
	return n < 0 ? -1 : 0;
}

int parts_watermark(struct parts *p, int64_t us, struct error *e)
{
	for (size_t i = 0; i < p->open_len; i++) {
		buf_reset(&p->text);
		sheet_watermark(&p->open[i]->sheet, us, &p->text);
		if (put_text(p, p->open[i], e) < 0)
			return -1;
	}
	return 0;
}

/* ---- --roll ---- */

static int roll_item(const char *text, size_t len, struct roll *out, struct error *e)
{
	uint64_t bytes;
	int64_t us;

	/* 10m is minutes: sizes have a capital letter where they could be durations. */
	if (duration_parse(text, len, &us) == NUMBER_OK && us > 0 && !out->age_us)
		out->age_us = us;
	else if (size_parse(text, len, &bytes) == NUMBER_OK && bytes && !out->bytes &&
		 duration_parse(text, len, &us) != NUMBER_OK)
		out->bytes = bytes;
	else
		return error_set(e, ERROR_USAGE, "'%.*s' is %s", (int)len, text,
			duration_parse(text, len, &us) == NUMBER_OK && out->age_us
				? "a second age (128M is a size, 10m ten minutes)"
				: "neither a size (128M) nor an age (10m)");
	return 0;
}

int roll_parse(const char *text, struct roll *out, struct error *e)
{
	*out = (struct roll){.bytes = 0};
	for (const char *at = text;;) {
		size_t len = strcspn(at, ",");

		if (roll_item(at, len, out, e) < 0)
			return error_context(e, "--roll '%s'", text);
		if (!at[len])
			return 0;
		at += len + 1;
	}
}
