/* SPDX-License-Identifier: Apache-2.0 */
/* Walks directories, reads files, keeps the last tenth of each aside, and draws batches. Files are
 * sorted by the bytes of their paths, so the corpus does not depend on the order of a directory. */
#define _POSIX_C_SOURCE 200809L

#include "data.h"
#include "random.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 64, BATCH_STREAM = 1 };

typedef struct path_list {
    char **paths;
    size_t count;
    size_t room;
} path_list;

typedef struct reader {
    corpus *text;
    path_list files;
    char *problem;
    size_t problem_size;
} reader;

static int fail(reader *state, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (state->problem != NULL && state->problem_size > 0)
        vsnprintf(state->problem, state->problem_size, format, arguments);
    va_end(arguments);
    return -1;
}

static int has_text_suffix(const char *name)
{
    static const char *const suffixes[] = {".c", ".h", ".md", ".txt", ".py", ".cmake"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (strcmp(dot, suffixes[i]) == 0)
            return 1;
    return 0;
}

static int is_build_directory(const char *name)
{
    return strncmp(name, "build", 5) == 0;
}

/* Takes over path, also when it fails. */
static int add_path(path_list *list, char *path)
{
    if (list->count == list->room) {
        const size_t room = list->room > 0 ? 2 * list->room : 64;
        char **paths = realloc(list->paths, room * sizeof *paths);
        if (paths == NULL) {
            free(path);
            return -1;
        }
        list->paths = paths;
        list->room = room;
    }
    list->paths[list->count++] = path;
    return 0;
}

static char *join_path(const char *directory, const char *name)
{
    const size_t size = strlen(directory) + strlen(name) + 2;
    char *path = malloc(size);
    if (path != NULL)
        snprintf(path, size, "%s/%s", directory, name);
    return path;
}

static int walk_directory(reader *state, const char *directory, int depth);

static int walk_entry(reader *state, const char *directory, const char *name, int depth)
{
    char *path = join_path(directory, name);
    if (path == NULL)
        return fail(state, "no memory for the path of '%s'", name);
    struct stat status;
    if (lstat(path, &status) != 0) {
        const int result = fail(state, "cannot read '%s': %s", path, strerror(errno));
        free(path);
        return result;
    }
    if (S_ISREG(status.st_mode) && has_text_suffix(name))
        return add_path(&state->files, path) == 0 ? 0 : fail(state, "no memory for paths");
    int result = 0;
    if (S_ISDIR(status.st_mode) && !is_build_directory(name))
        result = walk_directory(state, path, depth + 1);
    free(path);
    return result;
}

static int walk_directory(reader *state, const char *directory, int depth)
{
    if (depth > MAX_DEPTH)
        return fail(state, "'%s' is nested more than %d directories deep", directory, MAX_DEPTH);
    DIR *handle = opendir(directory);
    if (handle == NULL)
        return fail(state, "cannot read '%s': %s", directory, strerror(errno));
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(handle)) != NULL;)
        if (entry->d_name[0] != '.')
            result = walk_entry(state, directory, entry->d_name, depth);
    closedir(handle);
    return result;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_files(reader *state, const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return fail(state, "cannot read '%s': %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode)) {
        const size_t first = state->files.count;
        const int result = walk_directory(state, path, 0);
        if (state->files.count > first)
            qsort(state->files.paths + first, state->files.count - first, sizeof(char *),
                  compare_paths);
        return result;
    }
    char *copy = strdup(path);
    if (copy == NULL || add_path(&state->files, copy) != 0)
        return fail(state, "no memory for paths");
    return 0;
}

/* The rest of the file from where it stands; NULL on a read error or without memory. */
static uint8_t *read_rest(FILE *file, size_t *size)
{
    uint8_t *bytes = NULL;
    size_t room = 0;
    *size = 0;
    do {
        room = room > 0 ? 2 * room : 65536;
        uint8_t *larger = realloc(bytes, room);
        if (larger == NULL) {
            free(bytes);
            return NULL;
        }
        bytes = larger;
        *size += fread(bytes + *size, 1, room - *size, file);
    } while (*size == room);
    if (ferror(file)) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

static int append(uint8_t **part, size_t *size, const uint8_t *bytes, size_t count)
{
    if (count == 0)
        return 0;
    uint8_t *larger = realloc(*part, *size + count);
    if (larger == NULL)
        return -1;
    memcpy(larger + *size, bytes, count);
    *part = larger;
    *size += count;
    return 0;
}

/* A file's bytes, or NULL with the problem described. */
static uint8_t *read_bytes(reader *state, const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    errno = file != NULL ? 0 : errno;
    uint8_t *bytes = file != NULL ? read_rest(file, size) : NULL;
    if (bytes == NULL)
        fail(state, "cannot read '%s': %s", path, strerror(errno));
    if (file != NULL)
        fclose(file);
    return bytes;
}

static int read_file(reader *state, const char *path)
{
    size_t size = 0;
    uint8_t *bytes = read_bytes(state, path, &size);
    if (bytes == NULL)
        return -1;
    corpus *text = state->text;
    const size_t kept = size - size / 10;
    const int result =
        append(&text->train, &text->train_size, bytes, kept) == 0 &&
                append(&text->held_out, &text->held_out_size, bytes + kept, size - kept) == 0
            ? 0
            : fail(state, "no memory for the text");
    free(bytes);
    text->n_files++;
    return result;
}

static int read_all(reader *state, const char *const *paths, int n_paths, int context)
{
    for (int i = 0; i < n_paths; i++)
        if (list_files(state, paths[i]) != 0)
            return -1;
    for (size_t i = 0; i < state->files.count; i++)
        if (read_file(state, state->files.paths[i]) != 0)
            return -1;
    const size_t needed = (size_t)context + 1;
    if (state->text->held_out_size < needed || state->text->train_size < needed)
        return fail(state,
                    "the text has %zu bytes to train on and %zu held out (the last tenth of each "
                    "of %d files); both must be at least %zu, one more than the context",
                    state->text->train_size, state->text->held_out_size, state->text->n_files,
                    needed);
    return 0;
}

static void free_list(path_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->paths[i]);
    free(list->paths);
}

int corpus_load(corpus *text, const char *const *paths, int n_paths, int context, char *problem,
                size_t problem_size)
{
    *text = (corpus){0};
    reader state = {.text = text, .problem = problem, .problem_size = problem_size};
    const int result = read_all(&state, paths, n_paths, context);
    free_list(&state.files);
    if (result != 0)
        corpus_free(text);
    return result;
}

static int copy_file(reader *state, const char *path, const char *copy)
{
    size_t size = 0;
    uint8_t *bytes = read_bytes(state, path, &size);
    if (bytes == NULL)
        return -1;
    FILE *file = fopen(copy, "wb");
    const size_t written = file != NULL ? fwrite(bytes, 1, size, file) : 0;
    const int closed = file != NULL ? fclose(file) : EOF;
    free(bytes);
    if (written != size || closed != 0)
        return fail(state, "cannot write '%s': %s", copy, strerror(errno));
    return 0;
}

/* Numbered copies in the list's order, which is that of their names too. */
static int copy_all(reader *state, const char *directory)
{
    char name[32];
    int left = 1;
    for (size_t i = 0; i < state->files.count || left; i++) {
        snprintf(name, sizeof name, "%06zu.txt", i);
        char *copy = join_path(directory, name);
        if (copy == NULL)
            return fail(state, "no memory for the path of '%s'", name);
        int result = 0;
        if (i < state->files.count)
            result = copy_file(state, state->files.paths[i], copy);
        else
            left = unlink(copy) == 0;
        free(copy);
        if (result != 0)
            return -1;
    }
    return 0;
}

int corpus_copy(const char *const *paths, int n_paths, const char *directory, char *problem,
                size_t problem_size)
{
    reader state = {.problem = problem, .problem_size = problem_size};
    int result = 0;
    for (int i = 0; result == 0 && i < n_paths; i++)
        result = list_files(&state, paths[i]);
    if (result == 0)
        result = copy_all(&state, directory);
    free_list(&state.files);
    return result;
}

void corpus_free(corpus *text)
{
    free(text->train);
    free(text->held_out);
    *text = (corpus){0};
}

static void copy_sequence(const uint8_t *source, size_t start, int row, int context,
                          uint8_t *inputs, uint8_t *targets)
{
    const size_t length = (size_t)context;
    memcpy(inputs + (size_t)row * length, source + start, length);
    memcpy(targets + (size_t)row * length, source + start + 1, length);
}

void corpus_batch(const corpus *text, uint64_t seed, int64_t step, int batch, int context,
                  uint8_t *inputs, uint8_t *targets)
{
    const size_t starts = text->train_size - (size_t)context;
    for (int row = 0; row < batch; row++) {
        const uint64_t counter = (uint64_t)step * (uint64_t)batch + (uint64_t)row;
        const double position = random_uniform(seed, BATCH_STREAM, counter) * (double)starts;
        const size_t start = (size_t)position < starts ? (size_t)position : starts - 1;
        copy_sequence(text->train, start, row, context, inputs, targets);
    }
}

void corpus_held_out_batch(const corpus *text, int index, int count, int batch, int context,
                           uint8_t *inputs, uint8_t *targets)
{
    const size_t last = text->held_out_size - (size_t)context - 1;
    const size_t windows = (size_t)count * (size_t)batch;
    for (int row = 0; row < batch; row++) {
        const size_t window = (size_t)index * (size_t)batch + (size_t)row;
        const double fraction = windows > 1 ? (double)window / (double)(windows - 1) : 0.0;
        copy_sequence(text->held_out, (size_t)(fraction * (double)last), row, context, inputs,
                      targets);
    }
}
