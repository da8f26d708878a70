/* SPDX-License-Identifier: Apache-2.0 */
/* Small things done with files: paths, directories, whole files in memory, comparing two. Every
 * failure has already been reported when a function returns -1 or NULL. */
#ifndef GPT_FILES_H
#define GPT_FILES_H

#include <stddef.h>

enum { PATH_SIZE = 4096 };

/* path gets directory/name. */
int path_join(char path[PATH_SIZE], const char *directory, const char *name);

/* name gets the last part of path without its suffix: "recipes/adamw.json" gives "adamw". */
int path_stem(char *name, size_t size, const char *path);

/* Makes the directory and those above it; one that exists is fine. */
int make_directories(const char *path);

/* The bytes of a file with a 0 behind them, to be released with free. */
char *read_whole_file(const char *path, size_t *size);

/* 1 when both files hold the same bytes, 0 when not, -1 when one cannot be read. */
int same_files(const char *first, const char *second);

/* A growing list of names or paths. */
typedef struct name_list {
    char **names;
    int count;
} name_list;

int name_list_add(name_list *list, const char *name);
void name_list_free(name_list *list);

/* Adds directory/name for every entry that ends with suffix, in the order of the names' bytes. */
int list_directory(name_list *list, const char *directory, const char *suffix);

#endif
