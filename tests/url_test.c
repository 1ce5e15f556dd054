#include "connect/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void what_a_url_says_is_taken_apart(void **state)
{
	struct error e = ERROR_INIT;
	struct url u;

	assert_int_equal(url_parse("Kafka://b1:9092,b2,[::1]:9/t%20x?a.b=1%262&flag&c=", &u, &e), 0);
	assert_string_equal(u.scheme, "kafka");
	assert_int_equal(u.hosts_len, 3);
	assert_string_equal(u.hosts[0].name, "b1");
	assert_int_equal(u.hosts[0].port, 9092);
	assert_int_equal(u.hosts[1].port, -1);
	assert_string_equal(u.hosts[2].name, "::1");
	assert_int_equal(u.hosts[2].port, 9);
	assert_string_equal(u.path, "t x");
	assert_string_equal(url_take(&u, "a.b"), "1&2");
	assert_string_equal(url_take(&u, "flag"), "");
	assert_string_equal(url_left(&u)->name, "c");
	assert_null(url_take(&u, "d"));
	url_clear(&u);

	assert_int_equal(url_parse("postgresql://me:p%40ss@db/x", &u, &e), 0);
	assert_string_equal(u.user, "me");
	assert_string_equal(u.password, "p@ss");
	assert_string_equal(u.hosts[0].name, "db");
	url_clear(&u);

	assert_int_equal(url_parse("unix-listen:/run/a?b", &u, &e), 0);
	assert_string_equal(u.path, "/run/a?b");
	assert_int_equal(u.hosts_len, 0);
	url_clear(&u);

	assert_int_equal(url_parse("tcp-listen://:0", &u, &e), 0);
	assert_string_equal(u.hosts[0].name, "");
	assert_int_equal(u.hosts[0].port, 0);
	url_clear(&u);
}

static void what_is_no_url_is_refused_without_its_secrets(void **state)
{
	static const char *const wrong[] = {"", "a.csv", "c:/x", "/a://b", "tcp://h:70000",
		"tcp://h:x", "tcp://[::1", "tcp://[::1]x", "kafka://h/%zz", "kafka://h/%00",
		"kafka://h?a=%2", "s://u:hidden@h:99999"};

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct error e = ERROR_INIT;
		struct url u;

		assert_int_equal(url_parse(wrong[i], &u, &e), -1);
		assert_int_equal(e.code, ERROR_USAGE);
		assert_null(strstr(e.text, "hidden"));
		url_clear(&u);
	}
}

static void what_nobody_takes_gets_a_suggestion(void **state)
{
	static const char *const known[] = {"table", "query", NULL};
	struct error e = ERROR_INIT;
	struct url u;

	assert_int_equal(url_parse("postgresql://h/d?tabel=x", &u, &e), 0);
	assert_int_equal(url_check_taken(&u, known, &e), -1);
	assert_string_equal(e.text, "postgresql has no property 'tabel'\ndid you mean table?");
	url_clear(&u);
}

static void secrets_are_not_shown(void **state)
{
	static const char *const cases[][2] = {
		{"kafka://b/t", "kafka://b/t"},
		{"a:b@c?password=x", "a:b@c?password=x"}, /* a file */
		{"postgresql://me:pw@db/x?sslmode=require", "postgresql://me:***@db/x?sslmode=require"},
		{"postgresql://me:p/w@db/x", "postgresql://me:***@db/x"},
		{"postgresql://me:p:w@x@db/x", "postgresql://me:***@db/x"},
		{"postgresql://me@db/x?table=a@b", "postgresql://me@db/x?table=a@b"},
		{"kafka://b/t?sasl.password=a&x=1&ssl.key.PASSWORD=b",
			"kafka://b/t?sasl.password=***&x=1&ssl.key.PASSWORD=***"},
		{"kafka://b/t?sasl.p%61ssword=a", "kafka://b/t?sasl.p%61ssword=***"},
		{"kafka://b/t?sasl.oauthbearer.client.secret=a&", "kafka://b/t?sasl.oauthbearer.client.secret=***&"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf b = BUF_INIT;

		url_put_safe(cases[i][0], &b);
		assert_string_equal(buf_cstr(&b), cases[i][1]);
		buf_clear(&b);
	}
}

static void secrets_within_a_text_are_starred_out_where_they_stand(void **state)
{
	static const char *const cases[][2] = {
		{"ssink 'pg://u:pass@h/d?t=1&sslpassword=x' | x", "ssink 'pg://u:****@h/d?t=1&sslpassword=*' | x"},
		{"a pg://u:p@@h b://v:w@i", "a pg://u:**@h b://v:*@i"},
		{"://", "://"},
		{"x://u@h:80/a:b?c", "x://u@h:80/a:b?c"},
		{"no url: at all @", "no url: at all @"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[100];

		snprintf(text, sizeof text, "%s", cases[i][0]);
		url_hide(text);
		assert_string_equal(text, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_url_says_is_taken_apart),
		cmocka_unit_test(what_is_no_url_is_refused_without_its_secrets),
		cmocka_unit_test(what_nobody_takes_gets_a_suggestion),
		cmocka_unit_test(secrets_are_not_shown),
		cmocka_unit_test(secrets_within_a_text_are_starred_out_where_they_stand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
