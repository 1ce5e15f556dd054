/* msgpack against msgpack-c, in both directions, and its JSON text against what it should be. */
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "tests/support/tables.h"

#include <msgpack.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(text) text, sizeof(text) - 1

struct bytes_case {
	const char *bytes;
	size_t len;
};

static const struct bytes_case malformed_cases[] = {
	{BYTES("")},
	{BYTES("\xc1")},
	{BYTES("\x01\x02")},
	{BYTES("\xa1")},
	{BYTES("\xbf" "0123456789")},
	{BYTES("\xd9\x02x")},
	{BYTES("\xda\x01\x00x")},
	{BYTES("\xdb\xff\xff\xff\xffx")},
	{BYTES("\xc4\x01")},
	{BYTES("\xc6\xff\xff\xff\xff")},
	{BYTES("\xc7\x01")},
	{BYTES("\xc9\xff\xff\xff\xff\x01")},
	{BYTES("\xd4\x01")},
	{BYTES("\xd8\x01" "0123456789abcde")},
	{BYTES("\xca\0\0\0")},
	{BYTES("\xcb\0\0\0\0\0\0\0")},
	{BYTES("\xcf\0\0\0\0\0\0\0")},
	{BYTES("\xd0")},
	{BYTES("\x91")},
	{BYTES("\x9f\xc0")},
	{BYTES("\xdd\xff\xff\xff\xff\xc0")},
	{BYTES("\x81\xc0")},
	{BYTES("\x8f\xc0\xc0")},
	{BYTES("\xdf\x80\0\0\0\xc0\xc0")},
	{BYTES("\x92\x91\xc0")},
	{BYTES("\x91\xa2\xc3\x28")},
	{BYTES("\x81\xa1\xff\x01")},
	{BYTES("\xa3\xed\xa0\x80")},
};

static void malformed_objects_are_invalid(void **state)
{
	for (size_t i = 0; i < COUNT(malformed_cases); i++) {
		const struct bytes_case *c = &malformed_cases[i];
		uint8_t *copy = mem_alloc(c->len + !c->len);

		memcpy(copy, c->bytes, c->len);
		if (msgpack_is_valid(copy, c->len))
			fail_msg("case %zu is valid", i);
		mem_free(copy);
	}
}

static void nesting_has_a_limit(void **state)
{
	for (unsigned depth = MSGPACK_DEPTH_MAX - 1; depth <= MSGPACK_DEPTH_MAX + 1; depth++) {
		bool fits = depth <= MSGPACK_DEPTH_MAX;
		struct buf b = BUF_INIT, json = BUF_INIT;
		struct msgpack m;

		for (unsigned i = 0; i < depth; i++)
			msgpack_put_array(&b, 1);
		msgpack_put_nil(&b);
		m = (struct msgpack){b.data, b.data + b.len};
		assert_int_equal(msgpack_is_valid(b.data, b.len), fits);
		assert_int_equal(msgpack_skip(&m), fits ? 0 : -1);
		assert_int_equal(msgpack_put_json(b.data, b.len, &json), fits ? 0 : -1);
		assert_int_equal(json.len, fits ? 2 * depth + 4 : 0);
		buf_clear(&b);
		buf_clear(&json);
	}
}

struct json_case {
	const char *bytes;
	size_t len;
	const char *json;
};

static const struct json_case json_cases[] = {
	{BYTES("\xc0"), "null"},
	{BYTES("\xc2"), "false"},
	{BYTES("\xc3"), "true"},
	{BYTES("\x7f"), "127"},
	{BYTES("\xe0"), "-32"},
	{BYTES("\xd3\x80\0\0\0\0\0\0\0"), "-9223372036854775808"},
	{BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615"},
	{BYTES("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1"},
	{BYTES("\xca\x3f\0\0\0"), "0.5"},
	{BYTES("\xcb\x7f\xf0\0\0\0\0\0\0"), "null"},
	{BYTES("\xcb\x7f\xf8\0\0\0\0\0\0"), "null"},
	{BYTES("\xa0"), "\"\""},
	{BYTES("\xa9\"\\/\b\f\n\r\t\x01"), "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\""},
	{BYTES("\xa3\0\x1f\x7f"), "\"\\u0000\\u001f\x7f\""},
	{BYTES("\xa6\xc3\xa9\xf0\x9f\x98\x80"), "\"é😀\""},
	{BYTES("\xc4\x00"), "\"\""},
	{BYTES("\xc4\x01\xff"), "\"/w==\""},
	{BYTES("\xc4\x02\xff\xef"), "\"/+8=\""},
	{BYTES("\xc4\x03\xff\xef\x01"), "\"/+8B\""},
	{BYTES("\xd4\x05\xff"), "\"/w==\""},
	{BYTES("\x90"), "[]"},
	{BYTES("\x80"), "{}"},
	{BYTES("\x93\x01\xc0\x91\x02"), "[1,null,[2]]"},
	{BYTES("\x82\xa1" "a\x01\xa1" "b\x80"), "{\"a\":1,\"b\":{}}"},
	{BYTES("\x83\x01\x02\xc0\xc3\x91\xa1x\x03"), "{\"1\":2,\"null\":true,\"[\\\"x\\\"]\":3}"},
	{BYTES("\x81\xc4\x01\xff\x01"), "{\"\\\"/w==\\\"\":1}"},
	{BYTES("\x81\x81\x81\x01\x02\x03\x04"), "{\"{\\\"{\\\\\\\"1\\\\\\\":2}\\\":3}\":4}"},
};

static void json_text_is_as_documented(void **state)
{
	for (size_t i = 0; i < COUNT(json_cases); i++) {
		const struct json_case *c = &json_cases[i];
		struct buf json = BUF_INIT;

		assert_int_equal(msgpack_put_json((const uint8_t *)c->bytes, c->len, &json), 0);
		assert_string_equal(buf_cstr(&json), c->json);
		buf_clear(&json);
	}
}

static void keys_of_keys_do_not_explode(void **state)
{
	static const char *const leaves[] = {"\x01", "\xa1\"", "\xa1\\", "\xa1\x01", "\xc0", "\xc4\x00"};

	for (unsigned depth = 1; depth < MSGPACK_DEPTH_MAX; depth++) {
		for (size_t i = 0; i < COUNT(leaves); i++) {
			struct buf b = BUF_INIT, json = BUF_INIT;

			for (unsigned k = 0; k < depth; k++)
				msgpack_put_map(&b, 1);
			buf_put(&b, leaves[i], i == COUNT(leaves) - 1 ? 2 : strlen(leaves[i]));
			for (unsigned k = 0; k < depth; k++)
				msgpack_put_int(&b, 1);
			assert_true(msgpack_is_valid(b.data, b.len));
			assert_int_equal(msgpack_put_json(b.data, b.len, &json), 0);
			assert_true(json.len <= b.len * MSGPACK_JSON_FACTOR);
			buf_clear(&b);
			buf_clear(&json);
		}
	}
}

/* ---- msgpack-c as the oracle ---- */

static uint32_t random_len(void)
{
	static const uint32_t lens[] = {0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536};

	return random_below(20) ? random_below(40) : lens[random_below(COUNT(lens))];
}

static void pack_random(msgpack_packer *pk, unsigned depth)
{
	uint32_t n = random_len(), kind = random_below(depth < 4 ? 12 : 10);
	char *text = mem_alloc(n + 1);

	memset(text, 'a' + (int)random_below(26), n);
	switch (kind) {
	case 0: msgpack_pack_nil(pk); break;
	case 1: random_below(2) ? msgpack_pack_true(pk) : msgpack_pack_false(pk); break;
	case 2: msgpack_pack_int64(pk, (int64_t)random_word() >> random_below(64)); break;
	case 3: msgpack_pack_uint64(pk, random_word() >> random_below(64)); break;
	case 4: msgpack_pack_double(pk, (double)(int64_t)random_word() / 1024); break;
	case 5: msgpack_pack_float(pk, (float)random_below(1000) / 8); break;
	case 6: msgpack_pack_str_with_body(pk, text, n); break;
	case 7: msgpack_pack_bin_with_body(pk, text, n); break;
	case 8: msgpack_pack_ext_with_body(pk, text, n, (int8_t)random_below(256)); break;
	case 9: msgpack_pack_fix_int32(pk, (int32_t)random_word()); break;
	case 10:
		n = random_below(20);
		msgpack_pack_array(pk, n);
		for (uint32_t i = 0; i < n; i++)
			pack_random(pk, depth + 1);
		break;
	case 11:
		n = random_below(20);
		msgpack_pack_map(pk, n);
		for (uint32_t i = 0; i < 2 * n; i++)
			pack_random(pk, depth + 1);
		break;
	}
	mem_free(text);
}

static void assert_bytes(const struct msgpack_item *i, const char *bytes, uint32_t len)
{
	assert_int_equal(i->bytes_len, len);
	assert_true(!len || !memcmp(i->bytes, bytes, len));
}

/* Reads what msgpack-c decoded as o with our cursor, and writes it again with our functions. */
static void compare(struct msgpack *m, const msgpack_object *o, struct buf *out)
{
	struct msgpack_item i;

	assert_int_equal(msgpack_next(m, &i), 0);
	switch (o->type) {
	case MSGPACK_OBJECT_NIL:
		assert_int_equal(i.kind, MSGPACK_NIL);
		msgpack_put_nil(out);
		return;
	case MSGPACK_OBJECT_BOOLEAN:
		assert_true(i.kind == MSGPACK_BOOL && i.boolean == o->via.boolean);
		msgpack_put_bool(out, i.boolean);
		return;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		if (o->via.u64 > INT64_MAX)
			assert_true(i.kind == MSGPACK_UINT && i.uint == o->via.u64);
		else
			assert_true(i.kind == MSGPACK_INT && i.integer == (int64_t)o->via.u64);
		msgpack_put_uint(out, o->via.u64);
		return;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		assert_true(i.kind == MSGPACK_INT && i.integer == o->via.i64);
		msgpack_put_int(out, i.integer);
		return;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		assert_true(i.kind == MSGPACK_FLOAT && i.real == o->via.f64);
		msgpack_put_float(out, i.real);
		return;
	case MSGPACK_OBJECT_STR:
		assert_int_equal(i.kind, MSGPACK_STR);
		assert_bytes(&i, o->via.str.ptr, o->via.str.size);
		msgpack_put_str(out, (const char *)i.bytes, i.bytes_len);
		return;
	case MSGPACK_OBJECT_BIN:
		assert_int_equal(i.kind, MSGPACK_BIN);
		assert_bytes(&i, o->via.bin.ptr, o->via.bin.size);
		msgpack_put_bin(out, i.bytes, i.bytes_len);
		return;
	case MSGPACK_OBJECT_EXT:
		assert_int_equal(i.kind, MSGPACK_EXT);
		assert_int_equal(i.ext_type, o->via.ext.type);
		assert_bytes(&i, o->via.ext.ptr, o->via.ext.size);
		msgpack_put_nil(out); /* we write no ext inside of objects */
		return;
	case MSGPACK_OBJECT_ARRAY:
		assert_true(i.kind == MSGPACK_ARRAY && i.count == o->via.array.size);
		msgpack_put_array(out, i.count);
		for (uint32_t k = 0; k < i.count; k++)
			compare(m, &o->via.array.ptr[k], out);
		return;
	case MSGPACK_OBJECT_MAP:
		assert_true(i.kind == MSGPACK_MAP && i.count == o->via.map.size);
		msgpack_put_map(out, i.count);
		for (uint32_t k = 0; k < i.count; k++) {
			compare(m, &o->via.map.ptr[k].key, out);
			compare(m, &o->via.map.ptr[k].val, out);
		}
		return;
	}
}

/* Whether it has neither ext nor f32, which we don't write. */
static bool is_of_our_kinds(const uint8_t *bytes, size_t len)
{
	struct msgpack m = {bytes, bytes + len};
	struct msgpack_item i;
	bool ours = true;

	while (ours && m.at < m.end)
		ours = *m.at != 0xca && msgpack_next(&m, &i) == 0 && i.kind != MSGPACK_EXT;
	return ours;
}

static void random_objects_are_what_msgpack_c_says(void **state)
{
	random_seed(6);
	for (int i = 0; i < 3000; i++) {
		msgpack_sbuffer packed;
		msgpack_unpacked theirs, ours;
		msgpack_packer pk;
		struct buf out = BUF_INIT;
		struct msgpack m;
		uint8_t *exact;
		size_t at = 0;

		msgpack_sbuffer_init(&packed);
		msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
		pack_random(&pk, 0);
		exact = mem_alloc(packed.size);
		memcpy(exact, packed.data, packed.size);
		m = (struct msgpack){exact, exact + packed.size};
		assert_int_equal(msgpack_skip(&m), 0);
		assert_ptr_equal(m.at, m.end);
		assert_true(msgpack_is_valid(exact, packed.size));
		m.at = exact;
		msgpack_unpacked_init(&theirs);
		msgpack_unpacked_init(&ours);
		assert_int_equal(msgpack_unpack_next(&theirs, packed.data, packed.size, &at),
			MSGPACK_UNPACK_SUCCESS);
		compare(&m, &theirs.data, &out);
		assert_int_equal(msgpack_next(&m, &(struct msgpack_item){0}), 1);
		at = 0;
		assert_int_equal(msgpack_unpack_next(&ours, (const char *)out.data, out.len, &at),
			MSGPACK_UNPACK_SUCCESS);
		assert_int_equal(at, out.len);
		if (is_of_our_kinds(exact, packed.size))
			assert_true(msgpack_object_equal(theirs.data, ours.data));
		for (int cut = 0; cut < 5; cut++) {
			size_t len = random_below((uint32_t)packed.size);

			assert_false(msgpack_is_valid(exact, len));
		}
		msgpack_unpacked_destroy(&theirs);
		msgpack_unpacked_destroy(&ours);
		msgpack_sbuffer_destroy(&packed);
		mem_free(exact);
		buf_clear(&out);
	}
}

static void timestamps_are_packed_as_the_oracle_packs_them(void **state)
{
	static const int64_t fixed[] = {0, 1, -1, 999999, 1000000, -1000000, -1000001,
		(int64_t)UINT32_MAX * 1000000, ((int64_t)UINT32_MAX + 1) * 1000000,
		((int64_t)1 << 34) * 1000000 - 1, ((int64_t)1 << 34) * 1000000, INT64_MIN, INT64_MAX};

	for (size_t i = 0; i < COUNT(fixed) + 1000; i++) {
		int64_t us = i < COUNT(fixed) ? fixed[i] : (int64_t)random_word() >> random_below(64);
		int64_t part = ((us % 1000000) + 1000000) % 1000000;
		msgpack_timestamp want = {.tv_sec = us / 1000000 - (us % 1000000 < 0),
			.tv_nsec = (uint32_t)part * 1000};
		struct buf got = BUF_INIT;
		msgpack_sbuffer packed;
		msgpack_packer pk;

		msgpack_sbuffer_init(&packed);
		msgpack_packer_init(&pk, &packed, msgpack_sbuffer_write);
		msgpack_pack_timestamp(&pk, &want);
		msgpack_put_timestamp(&got, us);
		assert_int_equal(got.len, packed.size);
		assert_memory_equal(got.data, packed.data, got.len);
		assert_true(msgpack_is_valid(got.data, got.len));
		msgpack_sbuffer_destroy(&packed);
		buf_clear(&got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_objects_are_invalid),
		cmocka_unit_test(nesting_has_a_limit),
		cmocka_unit_test(json_text_is_as_documented),
		cmocka_unit_test(keys_of_keys_do_not_explode),
		cmocka_unit_test(random_objects_are_what_msgpack_c_says),
		cmocka_unit_test(timestamps_are_packed_as_the_oracle_packs_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
