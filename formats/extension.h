/* File names as far as they say a format. */
#ifndef RUNNEL_FORMATS_EXTENSION_H
#define RUNNEL_FORMATS_EXTENSION_H

#include <stddef.h>

/* The extension that says the format, behind a compression's: "csv" for "a/b.csv.gz"; "" if none. */
void format_extension(const char *path, char *out, size_t out_bytes);

#endif
