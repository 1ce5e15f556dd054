#include "tests/support/files.h"

#include "libcore/base/memory.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char rooms[] = "/tmp/runnel_test.XXXXXX";

int rooms_open(void **state)
{
	return mkdtemp(rooms) && chdir(rooms) == 0 ? 0 : -1;
}

int rooms_close(void **state)
{
	return rmdir(rooms);
}

int room_enter(void **state)
{
	return mkdir("room", 0777) == 0 && chdir("room") == 0 && mkdir("spool", 0777) == 0 ? 0 : -1;
}

int room_leave(void **state)
{
	if (chdir(rooms) < 0)
		return -1;
	remove_tree("room");
	return 0;
}

/* ---- trees ---- */

static bool is_itself(const struct dirent *entry)
{
	return !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
}

void remove_tree(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		char *name = mem_printf("%s/%s", path, entry->d_name);

		if (!is_itself(entry) && unlink(name) < 0)
			remove_tree(name);
		mem_free(name);
	}
	if (d)
		closedir(d);
	rmdir(path);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
	char **items;
	size_t len, cap;
};

static void collect(const char *path, const char *below, struct names *names)
{
	DIR *d = opendir(path);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		char *name = mem_printf("%s/%s", path, entry->d_name);
		char *short_name = mem_printf("%s%s", below, entry->d_name);
		char *next_below = mem_printf("%s/", short_name);
		struct stat st;

		if (!is_itself(entry) && stat(name, &st) == 0 && S_ISDIR(st.st_mode)) {
			collect(name, next_below, names);
		} else if (!is_itself(entry)) {
			MEM_GROW(names->items, names->cap, names->len + 1);
			names->items[names->len++] = mem_strdup(short_name);
		}
		mem_free(name);
		mem_free(short_name);
		mem_free(next_below);
	}
	if (d)
		closedir(d);
}

char *files_below(const char *path)
{
	struct names names = {.len = 0};
	struct buf out = BUF_INIT;
	char *text;

	collect(path, "", &names);
	if (names.len)
		qsort(names.items, names.len, sizeof *names.items, compare_names);
	for (size_t i = 0; i < names.len; i++) {
		buf_printf(&out, "%s ", names.items[i]);
		mem_free(names.items[i]);
	}
	mem_free(names.items);
	text = mem_strdup(buf_cstr(&out));
	buf_clear(&out);
	return text;
}

/* ---- files ---- */

char *file_read(const char *path, size_t *len)
{
	struct buf b = BUF_INIT;
	char piece[4096], *text;
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return NULL;
	while ((n = fread(piece, 1, sizeof piece, f)) > 0)
		buf_put(&b, piece, n);
	fclose(f);
	text = mem_alloc(b.len + 1);
	memcpy(text, buf_cstr(&b), b.len + 1);
	if (len)
		*len = b.len;
	buf_clear(&b);
	return text;
}

void file_make(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

void assert_holds(const char *path, const char *want)
{
	char *got = file_read(path, NULL);

	if (!got)
		fail_msg("%s isn't there", path);
	assert_string_equal(got, want);
	mem_free(got);
}

void assert_gone(const char *path)
{
	if (access(path, F_OK) == 0)
		fail_msg("%s is there", path);
}

/* ---- standard output ---- */

static int kept_stdout = -1;

void stdout_catch(void)
{
	int fd = open("stdout", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

	fflush(stdout);
	kept_stdout = dup(STDOUT_FILENO);
	assert_true(fd >= 0 && kept_stdout >= 0);
	dup2(fd, STDOUT_FILENO);
	close(fd);
}

void stdout_release(void)
{
	fflush(stdout);
	dup2(kept_stdout, STDOUT_FILENO);
	close(kept_stdout);
}

/* ---- checkpoints ---- */

int kept_take(void *context, struct stage *st, const struct barrier *b, const struct buf *handle,
	struct error *e)
{
	struct kept *k = context;
	struct channel_writer *w;
	int status;

	buf_reset(&k->state);
	buf_reset(&k->handle);
	buf_put(&k->handle, handle->data, handle->len);
	w = channel_writer_new_memory(&k->state);
	status = stage_snapshot(st, w, e);
	channel_writer_free(w);
	return status;
}

void files_kept_clear(struct kept *k)
{
	buf_clear(&k->state);
	buf_clear(&k->handle);
}
