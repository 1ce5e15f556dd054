#include "connect/heavy/postgres_pgoutput.h"

#include "connect/heavy/postgres_binary.h"
#include "libcore/base/memory.h"

#include <stdio.h>

struct cursor {
	const uint8_t *at, *end;
	bool broken; /* something was missing: what was read since is 0 */
};

static bool has(struct cursor *c, size_t n)
{
	if ((size_t)(c->end - c->at) < n)
		c->broken = true;
	return !c->broken;
}

static uint8_t next_u8(struct cursor *c)
{
	return has(c, 1) ? *c->at++ : 0;
}

static uint16_t next_u16(struct cursor *c)
{
	c->at += has(c, 2) ? 2 : 0;
	return c->broken ? 0 : take_u16(c->at - 2);
}

static uint32_t next_u32(struct cursor *c)
{
	c->at += has(c, 4) ? 4 : 0;
	return c->broken ? 0 : take_u32(c->at - 4);
}

static uint64_t next_u64(struct cursor *c)
{
	c->at += has(c, 8) ? 8 : 0;
	return c->broken ? 0 : take_u64(c->at - 8);
}

static int64_t next_time(struct cursor *c)
{
	int64_t us = (int64_t)next_u64(c);

	return __builtin_add_overflow(us, POSTGRES_EPOCH_US, &us) ? INT64_MAX : us;
}

static const char *next_name(struct cursor *c)
{
	const char *name = (const char *)c->at;
	const uint8_t *nul = c->at < c->end ? memchr(c->at, 0, (size_t)(c->end - c->at)) : NULL;

	if (!nul || c->broken) {
		c->broken = true;
		return "";
	}
	c->at = nul + 1;
	return name;
}

static int malformed(struct error *e, uint8_t kind)
{
	return error_set(
		e, ERROR_DATA, "the change stream is malformed: a message of kind 0x%02x", kind);
}

int pgoutput_parse_envelope(
	const uint8_t *bytes, size_t len, struct pgoutput_envelope *out, struct error *e)
{
	struct cursor c = {bytes, bytes + len, false};
	uint8_t kind = next_u8(&c);

	*out = (struct pgoutput_envelope){.has_message = kind == 'w'};
	if (kind == 'w')
		next_u64(&c);
	out->end_lsn = next_u64(&c);
	next_u64(&c);
	if (kind == 'k')
		out->wants_answer = next_u8(&c);
	out->message = c.at;
	out->message_len = (size_t)(c.end - c.at);
	if ((kind != 'w' && kind != 'k') || c.broken)
		return malformed(e, kind);
	return 0;
}

static void next_row(struct cursor *c, char kind, struct pgoutput_row *out)
{
	uint16_t n = next_u16(c);

	out->kind = kind;
	/* A field takes a byte at least: a number that is made up allocates nothing. */
	if (!has(c, n))
		return;
	MEM_GROW(out->fields, out->cap, n);
	for (out->len = 0; out->len < n && !c->broken; out->len++) {
		struct pgoutput_field *f = &out->fields[out->len];

		*f = (struct pgoutput_field){.kind = (char)next_u8(c)};
		if (f->kind == 't') {
			f->len = next_u32(c);
			f->text = (const char *)c->at;
			c->at += has(c, f->len) ? f->len : 0;
		} else if (f->kind != 'n' && f->kind != 'u') {
			c->broken = true;
		}
	}
}

static void next_relation(struct cursor *c, struct pgoutput *out)
{
	uint16_t n;

	out->schema = next_name(c);
	out->name = next_name(c);
	out->identity = (char)next_u8(c);
	n = next_u16(c);
	if (!has(c, n))
		return;
	MEM_GROW(out->columns, out->columns_cap, n);
	for (; out->columns_len < n && !c->broken; out->columns_len++) {
		struct pgoutput_column *x = &out->columns[out->columns_len];

		x->is_key = next_u8(c) & 1;
		x->name = next_name(c);
		x->oid = next_u32(c);
		x->modifier = (int32_t)next_u32(c);
	}
}

static void next_truncate(struct cursor *c, struct pgoutput *out)
{
	uint32_t n = next_u32(c);

	next_u8(c);
	if (!has(c, (size_t)n * 4))
		return;
	MEM_GROW(out->truncated, out->truncated_cap, n);
	for (; out->truncated_len < n; out->truncated_len++)
		out->truncated[out->truncated_len] = next_u32(c);
}

static void next_change(struct cursor *c, struct pgoutput *out)
{
	uint8_t tag;

	out->relation = next_u32(c);
	tag = next_u8(c);
	if (out->kind != PGOUTPUT_INSERT && (tag == 'K' || tag == 'O')) {
		next_row(c, (char)tag, &out->before);
		if (out->kind == PGOUTPUT_DELETE)
			return;
		tag = next_u8(c);
	}
	if (tag != 'N' || out->kind == PGOUTPUT_DELETE)
		c->broken = true;
	else
		next_row(c, 'N', &out->after);
}

static enum pgoutput_kind kind_of(uint8_t tag)
{
	switch (tag) {
	case 'B': return PGOUTPUT_BEGIN;
	case 'C': return PGOUTPUT_COMMIT;
	case 'R': return PGOUTPUT_RELATION;
	case 'I': return PGOUTPUT_INSERT;
	case 'U': return PGOUTPUT_UPDATE;
	case 'D': return PGOUTPUT_DELETE;
	case 'T': return PGOUTPUT_TRUNCATE;
	default: return PGOUTPUT_OTHER;
	}
}

int pgoutput_parse(const uint8_t *bytes, size_t len, struct pgoutput *out, struct error *e)
{
	struct cursor c = {bytes, bytes + len, false};
	uint8_t tag = next_u8(&c);

	out->kind = kind_of(tag);
	out->columns_len = out->truncated_len = 0;
	out->before.kind = out->after.kind = 0;
	out->before.len = out->after.len = 0;
	switch (out->kind) {
	case PGOUTPUT_BEGIN:
		out->lsn = next_u64(&c);
		out->time_us = next_time(&c);
		out->xid = next_u32(&c);
		break;
	case PGOUTPUT_COMMIT:
		next_u8(&c);
		out->lsn = next_u64(&c);
		out->end_lsn = next_u64(&c);
		out->time_us = next_time(&c);
		break;
	case PGOUTPUT_RELATION:
		out->relation = next_u32(&c);
		next_relation(&c, out);
		break;
	case PGOUTPUT_INSERT:
	case PGOUTPUT_UPDATE:
	case PGOUTPUT_DELETE: next_change(&c, out); break;
	case PGOUTPUT_TRUNCATE: next_truncate(&c, out); break;
	case PGOUTPUT_OTHER:
		if (tag == 'Y' || tag == 'O' || tag == 'M')
			return 0;
		c.broken = true;
	}
	return c.broken || c.at != c.end ? malformed(e, tag) : 0;
}

void pgoutput_clear(struct pgoutput *p)
{
	mem_free(p->columns);
	mem_free(p->before.fields);
	mem_free(p->after.fields);
	mem_free(p->truncated);
	*p = (struct pgoutput){.kind = PGOUTPUT_OTHER};
}

static int next_hex(const char **at, uint64_t *out)
{
	int digits = 0;

	for (*out = 0; digits < 9; digits++, (*at)++) {
		char c = **at;
		int v = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
					       : -1;

		if (v < 0)
			break;
		*out = *out << 4 | (unsigned)v;
	}
	return digits && digits < 9 ? 0 : -1;
}

int pgoutput_parse_lsn(const char *text, uint64_t *out)
{
	uint64_t high, low;

	if (next_hex(&text, &high) < 0 || *text++ != '/' || next_hex(&text, &low) < 0 || *text)
		return -1;
	*out = high << 32 | low;
	return 0;
}

void pgoutput_put_status(const struct pgoutput_status *s, uint8_t out[PGOUTPUT_STATUS_BYTES])
{
	uint64_t words[] = {htobe64(s->received_lsn), htobe64(s->flushed_lsn),
		htobe64(s->flushed_lsn), htobe64((uint64_t)(s->now_us - POSTGRES_EPOCH_US))};

	out[0] = 'r';
	memcpy(out + 1, words, sizeof words);
	out[PGOUTPUT_STATUS_BYTES - 1] = 0; /* no answer wanted */
}
