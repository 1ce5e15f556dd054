/* Bytes of an input: a file or a descriptor, decompressed (gz, zst, lz4, xz, bz2) and taken out of
 * archives (tar, zip, ... by libarchive) by what they contain, not by their name.
 *
 * A plain file is read as it is, without libarchive between; the first bytes decide.  An archive is
 * its regular files one after another, each an entry with a name and offsets of its own.
 * Programs that read only frames don't link this file (it is what needs libarchive). */
#ifndef RUNNEL_FORMATS_INPUT_H
#define RUNNEL_FORMATS_INPUT_H

#include "formats/extension.h"
#include "libcore/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input;

/* "-" is standard input.  A missing file, a directory, no permission: ERROR_IO with the path.
 * An archive that needs seeking, from a pipe: ERROR_USAGE with a hint. */
int input_open(const char *path, struct input **out, struct error *e);
void input_close(struct input *in);

/* A descriptor that is open already, and is the input's from now on, also on error; name is what
 * messages call it. */
int input_open_fd(int fd, const char *name, struct input **out, struct error *e);

/* ... taken as it is, whatever it looks like: its bytes are handed out as they come, and opening it waits
 * for none. */
int input_open_live(int fd, const char *name, struct input **out, struct error *e);

/* Whether the first bytes are those of a compressed stream, and can't be those of text. */
bool input_looks_compressed(const uint8_t *bytes, size_t len);

/* What a path is, without opening it as an input; of what isn't a regular file nothing is read. */
struct input_facts {
	bool regular; /* a file that can be read again from anywhere */
	bool packed;  /* compressed, or an archive */
	uint64_t bytes;
};
int input_look(const char *path, struct input_facts *out, struct error *e);
int input_look_fd(int fd, const char *name, struct input_facts *out, struct error *e);
bool input_is_packed(const struct input *in);

/* Up to `cap` bytes.  *got 0 with return 0 never happens; 1: the end of the last entry; 2: the end
 * of this entry, another follows (its name is in input_name from now on).  A damaged archive or
 * compressed stream is ERROR_DATA with path, entry and decompressed offset.  Behind the end of a plain
 * file it may be called again: the file may have grown. */
int input_read(struct input *in, void *bytes, size_t cap, size_t *got, struct error *e);

/* For messages: "flights.csv", "all.tar:jan.csv", "standard input". */
const char *input_name(const struct input *in);

/* Where in the input the next byte comes from, and going there: a snapshot's position.  Seeks where
 * the input can, reads and drops otherwise. */
struct input_position {
	uint32_t entry;         /* of an archive, from 0 */
	uint64_t offset;        /* decompressed bytes into the entry */
};
struct input_position input_position(const struct input *in);
int input_seek(struct input *in, struct input_position to, struct error *e);

int input_fd(const struct input *in); /* for poll; -1 if there is nothing to wait for */

#endif
