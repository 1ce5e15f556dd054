#include "formats/records.h"

#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
	READ_BYTES = 256 << 10, /* a quarter of L2: parsed while it is there */
	WINDOW_BYTES = READ_BYTES + (64 << 10),
	SAMPLE_BYTES = 1 << 20, /* types are inferred from so much unless --infer asks for more */
	SAMPLE_BYTES_MAX = 1 << 30,
	LIVE_SAMPLE_BYTES_MAX = 64 << 20, /* of a peer's, as much as a record may be long */
	INFER_ROWS = 10000,
	LINE_RELATIVE = 2,    /* readers look for a byte order mark on line 1 */
	BAD_RECORD_BYTES = 64 << 10, /* of a record are shown, as readers do */
	LIVE_SAMPLE_MS = 100, /* a live input's first record must not wait for 9,999 others */
};

enum entry_state { ENTRY_OPEN, ENTRY_OVER, ENTRY_OVER_NEXT_FOLLOWS };

struct records {
	struct records_options o;
	struct arena arena;
	struct schema_spec spec;
	struct reader *reader;
	struct schema schema;
	bool done;

	struct records_range *ranges;
	size_t ranges_len, at; /* at: the one being read */
	uint64_t end;          /* of it */

	struct input *in;
	char *name;             /* of the entry whose bytes are in the window */
	enum entry_state entry; /* over, too, where the range is */
	uint8_t *window;        /* window[from, to) is read and not yet parsed */
	size_t cap, from, to;
	uint64_t entry_bytes; /* read of this entry, parsed or not */
	bool starved;         /* there is no whole record in the window */
	size_t held;          /* bytes in it then */
	bool grows;           /* where its bytes end isn't its end */
	bool is_live;         /* a read is never waited for */
	bool has_spec;
	size_t looked_at;     /* bytes of the sample that were looked at for lines */
	size_t tried;         /* ... for a whole record */
	uint64_t lines;       /* in those */
	bool is_stopped;      /* it grew, and was finished while it may go on growing */
	bool left_part;
	const char *format;
	int latest_column;    /* whose times must not be beyond *latest_us; -1: none */

	/* Lines of a range whose first line's number is unknown: the reader counts from
	 * LINE_RELATIVE on, which stands at the byte counted_from. */
	bool is_relative, is_counted;
	uint64_t counted_from, lines_before;

	uint64_t bad, bytes;
};

/* ---- bytes ---- */

/* Room for a read behind the window's bytes. */
static void make_room(struct records *r)
{
	if (r->cap - r->to >= READ_BYTES)
		return;
	if (r->from) {
		memmove(r->window, r->window + r->from, r->to - r->from);
		r->to -= r->from;
		r->from = 0;
	}
	if (r->cap - r->to < READ_BYTES) {
		r->cap = r->cap ? r->cap * 2 : WINDOW_BYTES;
		r->window = mem_resize(r->window, r->cap);
	}
}

/* Whether a read would return at once. */
static bool is_readable(const struct records *r, int timeout_ms)
{
	struct pollfd p = {.fd = input_fd(r->in), .events = POLLIN};
	int status;

	if (p.fd < 0)
		return true;
	do {
		status = poll(&p, 1, timeout_ms);
	} while (status < 0 && errno == EINTR);
	return status != 0;
}

/* The record that begins before the range's end ends with the first newline from its last byte on:
 * what is behind it is another range's.  fresh: bytes of the window that were not looked at. */
static void cut_at_end(struct records *r, size_t fresh)
{
	uint64_t first = r->entry_bytes - fresh;
	const uint8_t *newline;
	size_t at = r->to - fresh;

	if (r->entry_bytes < r->end || !fresh)
		return;
	if (r->end > first + 1)
		at += (size_t)(r->end - 1 - first);
	newline = memchr(r->window + at, '\n', r->to - at);
	if (!newline)
		return;
	at = (size_t)(newline - r->window) + 1;
	r->entry_bytes -= r->to - at;
	r->to = at;
	r->entry = ENTRY_OVER;
}

/* One read.  0, or -1; r->entry tells the end.  2: of a growing or live input there is no more by now. */
static int fill(struct records *r, struct error *e)
{
	size_t got;
	int status;

	if (r->is_live && !is_readable(r, 0))
		return 2;
	make_room(r);
	status = input_read(r->in, r->window + r->to, READ_BYTES, &got, e);
	if (status < 0)
		return -1;
	if (status && r->grows)
		return 2;
	if (status)
		r->entry = status == 1 ? ENTRY_OVER : ENTRY_OVER_NEXT_FOLLOWS;
	r->to += got;
	r->bytes += got;
	r->entry_bytes += got;
	r->starved = false;
	cut_at_end(r, got);
	return 0;
}

/* What lies behind a record that isn't whole, until there is as much again: a record of many reads
 * is looked at a logarithmic number of times.  2: would block, or no more by now. */
static int fill_more(struct records *r, bool may_block, struct error *e)
{
	size_t goal = r->held < READ_BYTES ? 0 : 2 * r->held;
	uint64_t before = r->entry_bytes;

	do {
		int status = !may_block && !r->is_live && !is_readable(r, 0) ? 2 : fill(r, e);

		if (status < 0)
			return -1;
		/* Nor is it looked at for every byte of a peer that dribbles. */
		if (status && goal && !r->reader->ops->is_binary && r->to - r->from < goal &&
			!memchr(r->window + r->to - (r->entry_bytes - before), '\n', r->entry_bytes - before))
			r->starved = true;
		if (status)
			return r->starved ? 2 : 0;
	} while (r->entry == ENTRY_OPEN && r->to - r->from < goal);
	return 0;
}

/* The input may stand in its next entry already when the last bytes of this one are parsed. */
static void begin_entry(struct records *r)
{
	mem_free(r->name);
	r->name = mem_strdup(input_name(r->in));
	r->from = r->to = 0;
	r->entry = ENTRY_OPEN;
	r->entry_bytes = 0;
	r->starved = true;
	r->held = 0;
}

/* What a descriptor is open on, from its start; standard input goes on where it stands. */
static int open_source(struct records *r, const struct records_source *source, struct error *e)
{
	const char *name = r->o.inputs[0];
	int fd = fcntl(source->fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	if (fd < 0)
		return error_errno(e, "can't open %s", name);
	if (source->fd != STDIN_FILENO && lseek(fd, 0, SEEK_SET) < 0 && errno != ESPIPE) {
		close(fd);
		return error_errno(e, "can't seek in %s", name);
	}
	if (source->is_live)
		return input_open_live(fd, name, &r->in, e);
	return input_open_fd(fd, strcmp(name, "-") == 0 ? "standard input" : name, &r->in, e);
}

static int open_input(struct records *r, uint32_t input, struct error *e)
{
	const struct records_source *source = input ? NULL : r->o.source;

	input_close(r->in);
	r->in = NULL;
	if (source ? open_source(r, source, e) : input_open(r->o.inputs[input], &r->in, e))
		return -1;
	r->grows = source && source->grows && !input_is_packed(r->in);
	r->is_live = source && source->is_live;
	begin_entry(r);
	r->end = RECORDS_TO_END;
	return 0;
}

/* A read that failed, or a growing input that has lost what it held. */
static int fail_cut_short(const struct records *r, struct error *e)
{
	if (e->code == ERROR_NONE)
		error_set(e, ERROR_STATE, "%s is shorter than when it was left", r->name);
	return -1;
}

/* Lets the reader see the start of an entry, where a header may be, and take no rows. */
static int pass_header(struct records *r, size_t *header_bytes, struct error *e)
{
	struct batch_builder none;
	int status = 0;

	*header_bytes = 0;
	if (!r->reader->ops->needs_start)
		return 0;
	batch_builder_init(&none, &r->schema);
	do {
		status = fill(r, e);
		if (!status)
			status = r->reader->ops->parse(r->reader, r->window + r->from,
				r->to - r->from, r->entry != ENTRY_OPEN, 0, none.columns, NULL,
				header_bytes, e);
	} while (!status && r->reader->ops->needs_start(r->reader) && r->entry == ENTRY_OPEN);
	batch_builder_clear(&none);
	return status ? fail_cut_short(r, e) : 0;
}

/* Behind the next newline, or to the end. */
static int skip_line(struct records *r, struct error *e)
{
	for (;;) {
		const uint8_t *newline = memchr(r->window + r->from, '\n', r->to - r->from);

		r->from = newline ? (size_t)(newline - r->window) + 1 : r->to;
		if (newline || r->entry != ENTRY_OPEN)
			return 0;
		if (fill(r, e))
			return fail_cut_short(r, e);
	}
}

/* In the open input: from the middle of an entry on. */
static int begin_in_middle(struct records *r, const struct records_range *range, struct error *e)
{
	struct input_position to = {.entry = range->entry, .offset = range->start};
	size_t header_bytes;

	if (pass_header(r, &header_bytes, e) < 0)
		return -1;
	if (!range->is_begun)
		to.offset = (range->start > header_bytes ? range->start : header_bytes) - 1;
	if (input_seek(r->in, to, e) < 0)
		return -1;
	begin_entry(r);
	r->entry_bytes = to.offset;
	r->end = range->end;
	r->is_relative = !range->line;
	r->reader->ops->resume(r->reader, range->line ? range->line : LINE_RELATIVE);
	if (!range->is_begun) {
		make_room(r);
		if (skip_line(r, e) < 0)
			return -1;
	}
	r->counted_from = r->entry_bytes - (r->to - r->from);
	return 0;
}

/* Opens what range `at` is of, and goes to its start. */
static int begin_range(struct records *r, struct error *e)
{
	const struct records_range *range = &r->ranges[r->at];
	struct input_position entry = {.entry = range->entry};

	if (open_input(r, range->input, e) < 0)
		return -1;
	if (range->entry) {
		if (input_seek(r->in, entry, e) < 0)
			return -1;
		begin_entry(r);
	}
	r->is_relative = r->is_counted = false;
	r->reader->ops->start(r->reader, r->name);
	if (range->start)
		return begin_in_middle(r, range, e);
	r->end = range->end;
	return 0;
}

/* The next entry or range; done if there is none. */
static int advance(struct records *r, struct error *e)
{
	if (r->entry == ENTRY_OVER_NEXT_FOLLOWS) {
		begin_entry(r);
		r->reader->ops->start(r->reader, r->name);
		return 0;
	}
	r->at++;
	r->done = r->at == r->ranges_len;
	return r->done ? 0 : begin_range(r, e);
}

/* ---- format ---- */

bool records_is_frames(const uint8_t *bytes, size_t len)
{
	static const uint8_t ext_header_bytes[256] = {[0xc7] = 3,
		[0xc8] = 4,
		[0xc9] = 6,
		[0xd4] = 2,
		[0xd5] = 2,
		[0xd6] = 2,
		[0xd7] = 2,
		[0xd8] = 2};
	size_t head = len ? ext_header_bytes[bytes[0]] : 0;

	if (!head || len < head + 8 || bytes[head - 1] != 0)
		return false;
	return memmem(bytes + head, len - head < 16 ? len - head : 16, "runnel", 6) != NULL;
}

static const char *format_of_name(const char *path)
{
	static const char *const formats[][2] = {{"csv", "csv"}, {"tsv", "tsv"}, {"tab", "tsv"},
		{"ndjson", "ndjson"}, {"jsonl", "ndjson"}, {"json", "ndjson"}, {"log", "lines"},
		{"msgpack", "msgpack"}, {"mpk", "msgpack"}, {"avro", "avro"}};
	char extension[16];

	format_extension(path, extension, sizeof extension);
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		if (strcasecmp(formats[i][0], extension) == 0)
			return formats[i][1];
	}
	return NULL;
}

static int find_format(struct records *r, const char **format, struct error *e)
{
	*format = r->o.format ? r->o.format : r->o.reader.regex ? "regex" :
		format_of_name(r->o.inputs[0]);
	if (*format)
		return 0;
	while (r->to < 32 && r->entry == ENTRY_OPEN && !(r->to && memchr(r->window, '\n', r->to))) {
		int status = fill(r, e);

		if (status)
			return status < 0 ? -1 : 1;
	}
	if (records_is_frames(r->window, r->to)) {
		error_set(e, ERROR_USAGE, "%s is a frame stream already", r->name);
		return error_hint(e, "a stage reads it without ssource in front; or say -f frames");
	}
	*format = reader_format_of(r->window, r->to);
	return 0;
}

/* 1: there isn't enough to tell the format. */
static int new_reader(struct records *r, struct error *e)
{
	struct reader_options o = r->o.reader;
	const char *format;
	int status = find_format(r, &format, e);

	if (status)
		return status;
	r->format = format;
	if (!o.input)
		o.input = r->name;
	if (reader_new(format, &o, &r->reader, e) < 0)
		return -1;
	if (r->is_live && !r->reader->ops->is_binary && input_looks_compressed(r->window, r->to)) {
		error_set(e, ERROR_DATA, "%s: compressed bytes, which aren't unpacked as they come", r->name);
		return error_hint(e, "unpack them before; with --spool what is complete is unpacked");
	}
	r->reader->ops->start(r->reader, r->name);
	return 0;
}

/* ---- schema ---- */

static uint64_t count_lines(const uint8_t *bytes, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += bytes[i] == '\n';
	return n;
}

/* Lines of the sample, which may come a byte at a time: none is looked at twice. */
static uint64_t count_sample(struct records *r)
{
	size_t len = r->to - r->from;

	r->lines += count_lines(r->window + r->from + r->looked_at, len - r->looked_at);
	r->looked_at = len;
	return r->lines;
}

/* Whether there is a whole record to infer from. */
static bool has_some(struct records *r)
{
	size_t len = r->to - r->from;
	bool has_header = strcmp(r->reader->ops->name, "csv") == 0 &&
			  r->o.reader.header != HEADER_NO;

	if (!r->reader->ops->has_record)
		return r->lines > has_header;
	/* Looks at all there is: of a live input, that dribbles, not for every byte. */
	if (r->is_live && len < r->tried + r->tried / 4)
		return false;
	r->tried = len;
	return r->reader->ops->has_record(r->reader, r->window + r->from, len);
}

/* Reads what types are inferred from.  1: a growing or live input holds no record yet. */
static int read_sample(struct records *r, uint32_t rows, struct error *e)
{
	size_t bytes_max = !r->o.infer_rows ? SAMPLE_BYTES : r->is_live ? LIVE_SAMPLE_BYTES_MAX
								     : SAMPLE_BYTES_MAX;

	while (r->entry == ENTRY_OPEN && count_sample(r) <= rows && r->to - r->from < bytes_max) {
		bool some = has_some(r);
		int status;

		if (some && !r->is_live && !is_readable(r, LIVE_SAMPLE_MS))
			break;
		status = fill(r, e);
		if (status < 0)
			return -1;
		if (status)
			return !some || (r->is_live && !r->o.source->settles);
	}
	if (r->to - r->from >= SAMPLE_BYTES_MAX)
		return error_set(e, ERROR_USAGE,
			"--infer: the rows to infer from take more than 1 GiB; "
			"give the types with -s");
	return 0;
}

static int infer(struct records *r, struct schema *out, struct error *e)
{
	uint32_t rows = r->o.infer_rows ? r->o.infer_rows : INFER_ROWS;
	int status = read_sample(r, rows, e);

	if (status)
		return status;
	return r->reader->ops->infer(r->reader, r->window + r->from, r->to - r->from,
		r->entry != ENTRY_OPEN, rows, out, e);
}

static int settle_columns(struct records *r, struct error *e)
{
	struct schema found = SCHEMA_INIT;
	int status = 0;

	if (!r->has_spec && r->o.schema_text) {
		if (schema_spec_parse(r->o.schema_text, &r->arena, &r->spec, e) < 0)
			return -1;
	} else if (!r->has_spec) {
		r->spec.star = true;
	}
	r->has_spec = true;
	if (schema_spec_is_open(&r->spec)) {
		status = infer(r, &found, e);
		if (!status)
			status = schema_spec_settle(&r->spec, &found, r->name, &r->arena, e);
	}
	schema_clear(&found);
	return status;
}

static int settle_schema(struct records *r, struct error *e)
{
	const char *filename = r->o.filename_column;
	int status = settle_columns(r, e);

	if (status)
		return status;
	if (!r->spec.len && r->is_live && r->entry == ENTRY_OPEN)
		return error_set(e, ERROR_DATA, "%s: no record ends in its first %zu bytes, which types are "
			"inferred from; give -s", r->name, r->to - r->from);
	if (!r->spec.len)
		return error_set(e, ERROR_USAGE, "%s: no columns", r->name);
	for (size_t i = 0; i < r->spec.len; i++) {
		struct wanted_column *w = &r->spec.columns[i];

		schema_add(&r->schema, w->name, strlen(w->name), w->type);
		w->required = r->o.required_column && strcmp(r->o.required_column, w->name) == 0;
		if (w->required && r->o.latest_us)
			r->latest_column = (int)i;
	}
	r->schema.changelog = r->reader->ops->changes;
	if (r->schema.changelog && r->latest_column >= 0)
		return error_set(e, ERROR_USAGE, "--max-ahead is for rows, not for changes (-f %s)",
			r->reader->ops->name);
	if (filename && schema_find(&r->schema, filename, strlen(filename)) >= 0)
		return error_set(e, ERROR_USAGE, "--filename %s: %s has a column of that name",
			filename, r->name);
	if (filename)
		schema_add(&r->schema, filename, strlen(filename), TYPE_OF(TYPE_STRING));
	return r->reader->ops->want(r->reader, r->spec.columns, r->spec.len, e);
}

/* ---- the stream ---- */

/* Goes on with what of it has not been done. */
static int open_on(struct records *r, struct error *e)
{
	int status = r->in ? 0 : open_input(r, 0, e);

	if (!status && r->is_live && !r->to && r->entry == ENTRY_OPEN)
		status = fill(r, e);
	if (status)
		return status < 0 ? -1 : 1;
	if (r->is_live && !r->to)
		return 2;
	if (!r->reader)
		status = new_reader(r, e);
	return status ? status : settle_schema(r, e);
}

int records_open_on(struct records *r, const struct records_options *o, struct error *e)
{
	MUST(r->is_live);
	if (r->o.schema_text != o->schema_text || r->o.format != o->format) {
		if (r->reader)
			r->reader->ops->free(r->reader);
		r->reader = NULL;
		r->spec = (struct schema_spec){.columns = NULL};
		r->has_spec = false;
		r->tried = 0;
	}
	r->o.schema_text = o->schema_text;
	r->o.format = o->format;
	r->o.reader = o->reader;
	return open_on(r, e);
}

int records_open(const struct records_options *o, struct records **out, struct error *e)
{
	struct records *r = mem_zero(sizeof *r);
	int status;

	MUST(o->inputs_len);
	r->o = *o;
	schema_init(&r->schema);
	r->ranges_len = o->inputs_len;
	r->ranges = mem_alloc(r->ranges_len * sizeof *r->ranges);
	for (uint32_t i = 0; i < o->inputs_len; i++)
		r->ranges[i] = (struct records_range){.input = i, .end = RECORDS_TO_END};
	r->latest_column = -1;
	status = open_on(r, e);
	if (status && !(r->is_live && status > 0))
		records_close(r);
	else
		*out = r;
	return status;
}

void records_close(struct records *r)
{
	if (!r)
		return;
	if (r->reader)
		r->reader->ops->free(r->reader);
	input_close(r->in);
	schema_clear(&r->schema);
	arena_clear(&r->arena);
	mem_free(r->window);
	mem_free(r->name);
	mem_free(r->ranges);
	mem_free(r);
}

const struct schema *records_schema(const struct records *r)
{
	return &r->schema;
}

/* Of the open input, up to where its lines are counted from. */
static int count_lines_before(struct records *r, struct error *e)
{
	uint8_t *bytes = mem_alloc(READ_BYTES);
	uint64_t left = r->counted_from, lines = 0;
	struct input *in = NULL;
	int status = input_open(r->o.inputs[r->ranges[r->at].input], &in, e);

	while (!status && left) {
		size_t got;

		status = input_read(in, bytes, left < READ_BYTES ? left : READ_BYTES, &got, e);
		lines += count_lines(bytes, got);
		left -= got;
	}
	input_close(in);
	mem_free(bytes);
	r->lines_before = lines;
	r->is_counted = true;
	return status < 0 ? -1 : 0;
}

static uint64_t true_line(const struct records *r, uint64_t line)
{
	return r->is_relative ? line - LINE_RELATIVE + 1 + r->lines_before : line;
}

/* Whether it is what stands behind the last newline: of an input that was stopped while it grew, the
 * beginning of a record. */
static bool is_part(const struct records *r, const struct bad_record *bad)
{
	const uint8_t *from = r->window + r->from, *newline = memrchr(from, '\n', r->to - r->from);
	const uint8_t *part = newline ? newline + 1 : from;
	size_t len = (size_t)(r->window + r->to - part);

	if (len > BAD_RECORD_BYTES)
		len = BAD_RECORD_BYTES;
	return r->is_stopped && r->entry != ENTRY_OPEN && len && bad->record_len >= len &&
	       memcmp(bad->record, part, len) == 0;
}

static int take_bad(void *context, const struct bad_record *bad, struct error *e)
{
	struct records *r = context;
	struct bad_record b = *bad;

	if (is_part(r, bad)) {
		r->left_part = true;
		return 0;
	}
	if (r->is_relative && !r->is_counted && count_lines_before(r, e) < 0)
		return -1;
	b.line = true_line(r, b.line);
	if (!r->o.bad.take && !b.column)
		return error_set(e, ERROR_DATA, "%s:%llu: %s", b.input, (unsigned long long)b.line,
			b.reason);
	if (!r->o.bad.take)
		return error_set(e, ERROR_DATA, "%s:%llu:%u: %s", b.input,
			(unsigned long long)b.line, b.column, b.reason);
	r->bad++;
	return r->o.bad.take(r->o.bad.context, &b, e);
}

/* ---- times that can't be ---- */

static bool is_too_late(const struct records *r, const struct column_builder *c, uint32_t row)
{
	struct column times = builder_column(c);

	return column_is_valid(&times, row) && column_int(&times, row) > *r->o.latest_us;
}

static bool any_too_late(const struct records *r, const struct batch_builder *b, uint32_t from)
{
	const struct column_builder *c = &b->columns[r->latest_column];

	for (uint32_t row = from; row < c->rows; row++) {
		if (is_too_late(r, c, row))
			return true;
	}
	return false;
}

static int refuse_too_late(struct records *r, const struct batch_builder *b, uint32_t row,
	struct bad_record bad, struct error *e)
{
	struct column times = builder_column(&b->columns[r->latest_column]);
	struct buf reason = BUF_INIT;
	int status;

	column_put_text(&times, row, 64, &reason);
	buf_put_text(&reason, " is further ahead of the clock than --max-ahead allows");
	bad.reason = buf_cstr(&reason);
	bad.input = r->name;
	while (bad.record_len && strchr("\r\n", bad.record[bad.record_len - 1]))
		bad.record_len--;
	if (bad.record_len > BAD_RECORD_BYTES)
		bad.record_len = BAD_RECORD_BYTES;
	status = take_bad(r, &bad, e);
	buf_clear(&reason);
	return status;
}

static int take_nothing(void *context, const struct bad_record *bad, struct error *e)
{
	return 0;
}

/* Where a reader stands; an infer may have moved its line without taking anything. */
struct place {
	bool is_start;
	uint64_t line;
};

static struct place place_of(const struct records *r)
{
	const struct reader_ops *ops = r->reader->ops;
	uint64_t line = ops->line(r->reader);

	return (struct place){ops->needs_start ? ops->needs_start(r->reader) : line <= 1, line};
}

/* Takes rows that were parsed back and parses them again one by one without those whose time is too
 * late: that is rare, and only then must it be known where each record lies.  Other malformed records
 * have been told. */
static int leave_out_too_late(struct records *r, struct place place, uint32_t from,
	struct batch_builder *b, size_t consumed, struct error *e)
{
	const struct bad_sink quiet = {.take = take_nothing};
	const uint8_t *bytes = r->window + r->from;

	for (size_t i = 0; i < r->spec.len; i++)
		builder_truncate(&b->columns[i], from);
	if (place.is_start)
		r->reader->ops->start(r->reader, r->name);
	else
		r->reader->ops->resume(r->reader, place.line);
	for (size_t at = 0, n; at < consumed; at += n) {
		uint32_t row = b->columns[0].rows;
		uint64_t line = r->reader->ops->line(r->reader);
		if (r->reader->ops->parse(r->reader, bytes + at, consumed - at, true, 1, b->columns,
			    &quiet, &n, e) < 0)
			return -1;
		if (b->columns[0].rows == row || !is_too_late(r, &b->columns[r->latest_column], row))
			continue;
		if (refuse_too_late(r, b, row, (struct bad_record){.line = line,
			    .record = (const char *)bytes + at, .record_len = n}, e) < 0)
			return -1;
		for (size_t i = 0; i < r->spec.len; i++)
			builder_truncate(&b->columns[i], row);
	}
	return 0;
}

/* Parses what is in the window.  Rows appended, or -1. */
static int64_t parse(struct records *r, uint32_t rows_max, struct batch_builder *b, struct error *e)
{
	struct bad_sink bad = {
		.take = r->o.bad.take || r->is_relative || r->is_stopped ? take_bad : NULL,
		.context = r};
	uint32_t before = b->columns[0].rows, n;
	struct place place = place_of(r);
	size_t consumed = 0;

	r->reader->changes = &b->ops;
	if (r->reader->ops->parse(r->reader, r->window + r->from, r->to - r->from,
		    r->entry != ENTRY_OPEN, rows_max, b->columns, &bad, &consumed, e) < 0)
		return -1;
	if (r->latest_column >= 0 && any_too_late(r, b, before) &&
		leave_out_too_late(r, place, before, b, consumed, e) < 0)
		return -1;
	r->from += consumed;
	n = b->columns[0].rows - before;
	if (r->o.filename_column) {
		for (uint32_t i = 0; i < n; i++)
			builder_put_text(&b->columns[r->spec.len], r->name, strlen(r->name));
	}
	return n;
}

int records_next(struct records *r, bool may_block, uint32_t rows_max, struct batch_builder *b,
	struct error *e)
{
	while (!r->done) {
		if (!r->starved) {
			int64_t n = parse(r, rows_max, b, e);

			if (n)
				return n < 0 ? -1 : 0;
			r->starved = true;
			r->held = r->to - r->from;
		}
		if (r->entry != ENTRY_OPEN) {
			size_t range = r->at;

			if (advance(r, e) < 0)
				return -1;
			if (r->at != range)
				return r->done;
		} else {
			int status = fill_more(r, may_block, e);

			if (status)
				return status;
		}
	}
	return 1;
}

void records_finish(struct records *r, uint64_t end)
{
	r->is_stopped = r->grows && end;
	r->grows = false;
	if (r->done || r->entry != ENTRY_OPEN)
		return;
	if (!end || (r->entry_bytes >= end && (r->from == r->to || r->window[r->to - 1] == '\n')))
		r->entry = ENTRY_OVER;
	else if (records_is_divisible(r) && end < r->end)
		r->end = end;
	r->starved = false;
}

bool records_left_part(const struct records *r)
{
	return r->left_part;
}

bool records_holds_part(const struct records *r)
{
	return !r->done && r->from < r->to;
}

void records_rest(struct records *r)
{
	if (r->from < r->to)
		return;
	mem_free(r->window);
	r->window = NULL;
	r->cap = r->from = r->to = 0;
}

uint64_t records_read_bytes(const struct records *r)
{
	return r->entry_bytes;
}

int records_fd(const struct records *r)
{
	return r->in ? input_fd(r->in) : -1;
}

/* ---- position ---- */

size_t records_ranges_over(const struct records *r)
{
	return r->at;
}

bool records_left(const struct records *r, size_t i, struct records_range *out)
{
	if (i < r->at || i >= r->ranges_len)
		return false;
	*out = r->ranges[i];
	if (i > r->at)
		return true;
	out->entry = input_position(r->in).entry;
	if (r->entry == ENTRY_OVER_NEXT_FOLLOWS) /* the input stands in the next one already */
		out->entry--;
	out->is_begun = true;
	out->start = r->entry_bytes - (r->to - r->from);
	out->line = r->is_relative && !r->is_counted
			    ? 0
			    : true_line(r, r->reader->ops->line(r->reader));
	return out->start < out->end;
}

bool records_is_divisible(const struct records *r)
{
	const char *format = r->reader->ops->name;

	return strcmp(format, "csv") == 0 ? !r->o.reader.quoted_newlines
					  : !r->reader->ops->is_binary;
}

int records_read(struct records *r, const struct records_range *ranges, size_t n, struct error *e)
{
	size_t header_bytes;

	mem_free(r->ranges);
	r->ranges = mem_alloc((n + 1) * sizeof *r->ranges);
	if (n)
		memcpy(r->ranges, ranges, n * sizeof *r->ranges);
	r->ranges_len = n;
	r->at = 0;
	r->done = !n;
	if (r->done)
		return 0;
	if (!ranges->input && !ranges->entry && !ranges->start) { /* it is open: may be a pipe */
		r->end = ranges->end;
		cut_at_end(r, r->to - r->from);
		return 0;
	}
	/* Whether there are headers is for the first input to say. */
	if (ranges->input && pass_header(r, &header_bytes, e) < 0)
		return -1;
	return begin_range(r, e);
}

void records_put_spec(const struct records *r, struct buf *out)
{
	schema_spec_put(&r->spec, out);
}

void records_settled(const struct records *r, struct records_options *o)
{
	o->format = r->format;
	if (r->reader->ops->header)
		o->reader.header = r->reader->ops->header(r->reader);
}

uint64_t records_bad(const struct records *r)
{
	return r->bad;
}

uint64_t records_bytes(const struct records *r)
{
	return r->bytes;
}
