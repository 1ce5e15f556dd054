#include "libcore/base/msgpack.h"

#include "libcore/base/civil.h"
#include "libcore/base/number.h"
#include "libcore/base/utf8.h"

#include <math.h>

enum { NEVER_USED = 0xc1 };

static uint64_t read_be(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

/* `bytes` big-endian bytes at the cursor, which moves on. */
static int take_be(struct msgpack *m, unsigned bytes, uint64_t *out)
{
	if ((size_t)(m->end - m->at) < bytes)
		return -1;
	*out = read_be(m->at, bytes);
	m->at += bytes;
	return 0;
}

static int take_payload(struct msgpack *m, uint64_t len, struct msgpack_item *out)
{
	if ((uint64_t)(m->end - m->at) < len)
		return -1;
	out->bytes = m->at;
	out->bytes_len = (uint32_t)len;
	m->at += len;
	return 0;
}

static int take_sized(struct msgpack *m, unsigned len_bytes, enum msgpack_kind kind,
	struct msgpack_item *out)
{
	uint64_t len;

	out->kind = kind;
	return take_be(m, len_bytes, &len) < 0 ? -1 : take_payload(m, len, out);
}

static int take_ext(struct msgpack *m, uint64_t len, struct msgpack_item *out)
{
	uint64_t type;

	out->kind = MSGPACK_EXT;
	if (take_be(m, 1, &type) < 0)
		return -1;
	out->ext_type = (int8_t)(uint8_t)type;
	return take_payload(m, len, out);
}

static int take_counted(struct msgpack *m, unsigned len_bytes, enum msgpack_kind kind,
	struct msgpack_item *out)
{
	uint64_t count;

	out->kind = kind;
	if (take_be(m, len_bytes, &count) < 0)
		return -1;
	/* Every element takes a byte at least: a count beyond that is a lie. */
	if (count * (kind == MSGPACK_MAP ? 2 : 1) > (uint64_t)(m->end - m->at))
		return -1;
	out->count = (uint32_t)count;
	return 0;
}

static int take_unsigned(struct msgpack *m, unsigned bytes, struct msgpack_item *out)
{
	uint64_t v;

	if (take_be(m, bytes, &v) < 0)
		return -1;
	out->kind = v > INT64_MAX ? MSGPACK_UINT : MSGPACK_INT;
	if (out->kind == MSGPACK_UINT)
		out->uint = v;
	else
		out->integer = (int64_t)v;
	return 0;
}

static int take_signed(struct msgpack *m, unsigned bytes, struct msgpack_item *out)
{
	unsigned shift = 64 - 8 * bytes;
	uint64_t v;

	if (take_be(m, bytes, &v) < 0)
		return -1;
	out->kind = MSGPACK_INT;
	out->integer = (int64_t)(v << shift) >> shift;
	return 0;
}

static int take_float(struct msgpack *m, unsigned bytes, struct msgpack_item *out)
{
	uint64_t v;

	if (take_be(m, bytes, &v) < 0)
		return -1;
	out->kind = MSGPACK_FLOAT;
	if (bytes == 8) {
		memcpy(&out->real, &v, sizeof out->real);
	} else {
		uint32_t bits = (uint32_t)v;
		float single;

		memcpy(&single, &bits, sizeof single);
		out->real = (double)single;
	}
	return 0;
}

static int take_ext_sized(struct msgpack *m, unsigned len_bytes, struct msgpack_item *out)
{
	uint64_t len;

	return take_be(m, len_bytes, &len) < 0 ? -1 : take_ext(m, len, out);
}

static int take_fixed(uint8_t head, struct msgpack *m, struct msgpack_item *out)
{
	if (head < 0x80 || head >= 0xe0) {
		out->kind = MSGPACK_INT;
		out->integer = (int8_t)head;
		return 0;
	}
	if (head >= 0xa0) {
		out->kind = MSGPACK_STR;
		return take_payload(m, head & 31, out);
	}
	out->kind = head >= 0x90 ? MSGPACK_ARRAY : MSGPACK_MAP;
	out->count = head & 15;
	return (size_t)(m->end - m->at) < out->count * (head >= 0x90 ? 1u : 2u) ? -1 : 0;
}

int msgpack_next(struct msgpack *m, struct msgpack_item *out)
{
	uint8_t head;

	if (m->at == m->end)
		return 1;
	head = *m->at++;
	switch (head) {
	case 0xc0: out->kind = MSGPACK_NIL; return 0;
	case NEVER_USED: return -1;
	case 0xc2:
	case 0xc3:
		out->kind = MSGPACK_BOOL;
		out->boolean = head & 1;
		return 0;
	case 0xc4: return take_sized(m, 1, MSGPACK_BIN, out);
	case 0xc5: return take_sized(m, 2, MSGPACK_BIN, out);
	case 0xc6: return take_sized(m, 4, MSGPACK_BIN, out);
	case 0xc7: return take_ext_sized(m, 1, out);
	case 0xc8: return take_ext_sized(m, 2, out);
	case 0xc9: return take_ext_sized(m, 4, out);
	case 0xca: return take_float(m, 4, out);
	case 0xcb: return take_float(m, 8, out);
	case 0xcc: return take_unsigned(m, 1, out);
	case 0xcd: return take_unsigned(m, 2, out);
	case 0xce: return take_unsigned(m, 4, out);
	case 0xcf: return take_unsigned(m, 8, out);
	case 0xd0: return take_signed(m, 1, out);
	case 0xd1: return take_signed(m, 2, out);
	case 0xd2: return take_signed(m, 4, out);
	case 0xd3: return take_signed(m, 8, out);
	case 0xd4: return take_ext(m, 1, out);
	case 0xd5: return take_ext(m, 2, out);
	case 0xd6: return take_ext(m, 4, out);
	case 0xd7: return take_ext(m, 8, out);
	case 0xd8: return take_ext(m, 16, out);
	case 0xd9: return take_sized(m, 1, MSGPACK_STR, out);
	case 0xda: return take_sized(m, 2, MSGPACK_STR, out);
	case 0xdb: return take_sized(m, 4, MSGPACK_STR, out);
	case 0xdc: return take_counted(m, 2, MSGPACK_ARRAY, out);
	case 0xdd: return take_counted(m, 4, MSGPACK_ARRAY, out);
	case 0xde: return take_counted(m, 2, MSGPACK_MAP, out);
	case 0xdf: return take_counted(m, 4, MSGPACK_MAP, out);
	}
	return take_fixed(head, m, out);
}

/* Elements still to come of each open container; check_text also verifies UTF-8.  1: cut short. */
static int walk(struct msgpack *m, bool check_text)
{
	uint64_t left[MSGPACK_DEPTH_MAX + 1];
	int depth = 0;

	left[0] = 1;
	for (;;) {
		struct msgpack_item item;

		while (left[depth] == 0) {
			if (depth-- == 0)
				return 0;
		}
		left[depth]--;
		if (m->at < m->end && *m->at == NEVER_USED)
			return -1;
		if (msgpack_next(m, &item) != 0)
			return 1;
		if (check_text && item.kind == MSGPACK_STR &&
			!utf8_valid((const char *)item.bytes, item.bytes_len))
			return -1;
		if (item.kind != MSGPACK_ARRAY && item.kind != MSGPACK_MAP)
			continue;
		if (++depth > MSGPACK_DEPTH_MAX)
			return -1;
		left[depth] = (uint64_t)item.count * (item.kind == MSGPACK_MAP ? 2 : 1);
	}
}

int msgpack_skip(struct msgpack *m)
{
	return walk(m, false) ? -1 : 0;
}

int msgpack_measure(const uint8_t *bytes, size_t len, size_t *object_bytes)
{
	struct msgpack m = {bytes, bytes + len};
	int status = walk(&m, false);

	*object_bytes = (size_t)(m.at - bytes);
	return status;
}

bool msgpack_is_valid(const uint8_t *bytes, size_t len)
{
	struct msgpack m = {bytes, bytes + len};

	return len && walk(&m, true) == 0 && m.at == m.end;
}

/* ---- writing ---- */

static void put_head(struct buf *b, uint8_t head, uint64_t value, unsigned bytes)
{
	uint8_t *to = buf_reserve(b, 1 + bytes);

	*to++ = head;
	for (unsigned i = 0; i < bytes; i++)
		*to++ = (uint8_t)(value >> 8 * (bytes - 1 - i));
	b->len += 1 + bytes;
}

static void put_be(struct buf *b, uint64_t value, unsigned bytes)
{
	uint8_t *to = buf_reserve(b, bytes);

	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
	b->len += bytes;
}

void msgpack_put_nil(struct buf *b)
{
	buf_put_byte(b, 0xc0);
}

void msgpack_put_bool(struct buf *b, bool v)
{
	buf_put_byte(b, v ? 0xc3 : 0xc2);
}

void msgpack_put_uint(struct buf *b, uint64_t v)
{
	if (v < 0x80)
		buf_put_byte(b, (uint8_t)v);
	else if (v <= UINT8_MAX)
		put_head(b, 0xcc, v, 1);
	else if (v <= UINT16_MAX)
		put_head(b, 0xcd, v, 2);
	else if (v <= UINT32_MAX)
		put_head(b, 0xce, v, 4);
	else
		put_head(b, 0xcf, v, 8);
}

void msgpack_put_int(struct buf *b, int64_t v)
{
	if (v >= 0)
		msgpack_put_uint(b, (uint64_t)v);
	else if (v >= -32)
		buf_put_byte(b, (uint8_t)v);
	else if (v >= INT8_MIN)
		put_head(b, 0xd0, (uint64_t)v, 1);
	else if (v >= INT16_MIN)
		put_head(b, 0xd1, (uint64_t)v, 2);
	else if (v >= INT32_MIN)
		put_head(b, 0xd2, (uint64_t)v, 4);
	else
		put_head(b, 0xd3, (uint64_t)v, 8);
}

void msgpack_put_float(struct buf *b, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof bits);
	put_head(b, 0xcb, bits, 8);
}

void msgpack_put_str(struct buf *b, const char *text, size_t len)
{
	if (len < 32)
		buf_put_byte(b, (uint8_t)(0xa0 | len));
	else if (len <= UINT8_MAX)
		put_head(b, 0xd9, len, 1);
	else if (len <= UINT16_MAX)
		put_head(b, 0xda, len, 2);
	else
		put_head(b, 0xdb, len, 4);
	buf_put(b, text, len);
}

void msgpack_put_bin(struct buf *b, const void *bytes, size_t len)
{
	if (len <= UINT8_MAX)
		put_head(b, 0xc4, len, 1);
	else if (len <= UINT16_MAX)
		put_head(b, 0xc5, len, 2);
	else
		put_head(b, 0xc6, len, 4);
	buf_put(b, bytes, len);
}

void msgpack_put_timestamp(struct buf *b, int64_t us)
{
	enum { SECOND_US = 1000000, TYPE = 0xff };
	int64_t part_us = us % SECOND_US, second = us / SECOND_US - (part_us < 0);
	uint64_t ns = (uint64_t)(part_us + (part_us < 0 ? SECOND_US : 0)) * 1000;

	if (second >= 0 && second <= UINT32_MAX && !ns) {
		buf_put(b, (const uint8_t[]){0xd6, TYPE}, 2);
		put_be(b, (uint64_t)second, 4);
	} else if (second >= 0 && second < (int64_t)1 << 34) {
		buf_put(b, (const uint8_t[]){0xd7, TYPE}, 2);
		put_be(b, ns << 34 | (uint64_t)second, 8);
	} else {
		buf_put(b, (const uint8_t[]){0xc7, 12, TYPE}, 3);
		put_be(b, ns, 4);
		put_be(b, (uint64_t)second, 8);
	}
}

void msgpack_put_array(struct buf *b, uint32_t count)
{
	if (count < 16)
		buf_put_byte(b, (uint8_t)(0x90 | count));
	else if (count <= UINT16_MAX)
		put_head(b, 0xdc, count, 2);
	else
		put_head(b, 0xdd, count, 4);
}

void msgpack_put_map(struct buf *b, uint32_t pairs)
{
	if (pairs < 16)
		buf_put_byte(b, (uint8_t)(0x80 | pairs));
	else if (pairs <= UINT16_MAX)
		put_head(b, 0xde, pairs, 2);
	else
		put_head(b, 0xdf, pairs, 4);
}

/* ---- JSON ---- */

static void put_json_text(const uint8_t *text, size_t len, struct buf *out)
{
	static const char escapes[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
		['\r'] = 'r'};
	size_t from = 0;

	buf_put_byte(out, '"');
	for (size_t i = 0; i < len; i++) {
		uint8_t c = text[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_put(out, text + from, i - from);
		from = i + 1;
		if (c >= 0x20)
			buf_printf(out, "\\%c", c);
		else if (escapes[c])
			buf_printf(out, "\\%c", escapes[c]);
		else
			buf_printf(out, "\\u%04x", c);
	}
	buf_put(out, text + from, len - from);
	buf_put_byte(out, '"');
}

static void put_base64(const uint8_t *p, size_t len, struct buf *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	buf_put_byte(out, '"');
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
			(n > 2 ? p[i + 2] : 0);

		buf_put_byte(out, (uint8_t)digits[v >> 18]);
		buf_put_byte(out, (uint8_t)digits[v >> 12 & 63]);
		buf_put_byte(out, n > 1 ? (uint8_t)digits[v >> 6 & 63] : '=');
		buf_put_byte(out, n > 2 ? (uint8_t)digits[v & 63] : '=');
	}
	buf_put_byte(out, '"');
}

int msgpack_ext_head(const uint8_t *bytes, size_t len, struct msgpack_ext *out)
{
	unsigned len_bytes;

	if (!len)
		return 1;
	switch (bytes[0]) {
	case 0xc7: len_bytes = 1; break;
	case 0xc8: len_bytes = 2; break;
	case 0xc9: len_bytes = 4; break;
	case 0xd4:
	case 0xd5:
	case 0xd6:
	case 0xd7:
	case 0xd8: len_bytes = 0; break;
	default: return -1;
	}
	if (len < 2 + len_bytes)
		return 1;
	out->head_bytes = 2 + len_bytes;
	out->body_bytes = len_bytes ? 0 : 1u << (bytes[0] - 0xd4);
	for (unsigned i = 1; i <= len_bytes; i++)
		out->body_bytes = out->body_bytes << 8 | bytes[i];
	out->type = bytes[1 + len_bytes];
	return 0;
}

bool msgpack_moment(const struct msgpack_item *i, int64_t *us)
{
	int64_t second, ns = 0;

	if (i->kind != MSGPACK_EXT || i->ext_type != -1)
		return false;
	if (i->bytes_len == 4) {
		second = (int64_t)read_be(i->bytes, 4);
	} else if (i->bytes_len == 8) {
		ns = (int64_t)(read_be(i->bytes, 8) >> 34);
		second = (int64_t)(read_be(i->bytes, 8) & ((UINT64_C(1) << 34) - 1));
	} else if (i->bytes_len == 12) {
		ns = (int64_t)read_be(i->bytes, 4);
		second = (int64_t)read_be(i->bytes + 4, 8);
	} else {
		return false;
	}
	return ns < 1000000000 && !__builtin_mul_overflow(second, CIVIL_US_SECOND, us) &&
		!__builtin_add_overflow(*us, ns / 1000, us);
}

static void put_json_ext(const struct msgpack_item *item, struct buf *out)
{
	char text[TIMESTAMP_TEXT_MAX];
	int64_t us;

	if (!msgpack_moment(item, &us)) {
		put_base64(item->bytes, item->bytes_len, out);
		return;
	}
	buf_put_byte(out, '"');
	buf_put(out, text, timestamp_put(text, us));
	buf_put_byte(out, '"');
}

static void put_json_scalar(const struct msgpack_item *item, struct buf *out)
{
	char number[48];

	switch (item->kind) {
	case MSGPACK_NIL: buf_put_text(out, "null"); break;
	case MSGPACK_BOOL: buf_put_text(out, item->boolean ? "true" : "false"); break;
	case MSGPACK_INT: buf_put(out, number, int_put(number, item->integer)); break;
	case MSGPACK_UINT: buf_put(out, number, uint_put(number, item->uint)); break;
	case MSGPACK_FLOAT:
		if (isfinite(item->real))
			buf_put(out, number, float_put(number, item->real, 0));
		else
			buf_put_text(out, "null");
		break;
	case MSGPACK_STR: put_json_text(item->bytes, item->bytes_len, out); break;
	case MSGPACK_EXT: put_json_ext(item, out); break;
	case MSGPACK_BIN: put_base64(item->bytes, item->bytes_len, out); break;
	case MSGPACK_ARRAY:
	case MSGPACK_MAP: break;
	}
}

/* A key within a key within a key ... doubles its backslashes at every level.  With three a byte of
 * msgpack gives 16 of JSON at most, and writers may rely on MSGPACK_JSON_FACTOR. */
enum { JSON_KEY_DEPTH_MAX = 3 };

static int put_json(struct msgpack *m, unsigned depth, unsigned keys, struct buf *out);

/* A key that is no text becomes the text of its JSON. */
static int put_json_key(struct msgpack *m, unsigned depth, unsigned keys, struct buf *out)
{
	struct msgpack look = *m;
	struct msgpack_item item;
	struct buf key = BUF_INIT;
	int status;

	if (msgpack_next(&look, &item) != 0)
		return -1;
	if (item.kind == MSGPACK_STR) {
		*m = look;
		put_json_text(item.bytes, item.bytes_len, out);
		return 0;
	}
	if (keys == JSON_KEY_DEPTH_MAX) {
		look = *m;
		if (msgpack_skip(m) < 0)
			return -1;
		put_base64(look.at, (size_t)(m->at - look.at), out);
		return 0;
	}
	status = put_json(m, depth, keys + 1, &key);
	if (status == 0)
		put_json_text(key.data, key.len, out);
	buf_clear(&key);
	return status;
}

static int put_json(struct msgpack *m, unsigned depth, unsigned keys, struct buf *out)
{
	struct msgpack_item item;

	if (depth > MSGPACK_DEPTH_MAX || msgpack_next(m, &item) != 0)
		return -1;
	if (item.kind != MSGPACK_ARRAY && item.kind != MSGPACK_MAP) {
		put_json_scalar(&item, out);
		return 0;
	}
	buf_put_byte(out, item.kind == MSGPACK_MAP ? '{' : '[');
	for (uint32_t i = 0; i < item.count; i++) {
		if (i)
			buf_put_byte(out, ',');
		if (item.kind == MSGPACK_MAP) {
			if (put_json_key(m, depth + 1, keys, out) < 0)
				return -1;
			buf_put_byte(out, ':');
		}
		if (put_json(m, depth + 1, keys, out) < 0)
			return -1;
	}
	buf_put_byte(out, item.kind == MSGPACK_MAP ? '}' : ']');
	return 0;
}

int msgpack_put_json(const uint8_t *bytes, size_t len, struct buf *out)
{
	struct msgpack m = {bytes, bytes + len};
	size_t before = out->len;

	if (put_json(&m, 0, 0, out) == 0 && m.at == m.end)
		return 0;
	out->len = before;
	return -1;
}
