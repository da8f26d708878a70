/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX file work that both programs of the example share. */
#define _POSIX_C_SOURCE 200809L

#include "files.h"
#include "report.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int path_join(char path[PATH_SIZE], const char *directory, const char *name)
{
    const int length = snprintf(path, PATH_SIZE, "%s/%s", directory, name);
    if (length < 0 || length >= PATH_SIZE)
        return failure("the path '%s/%s' is longer than %d bytes", directory, name, PATH_SIZE - 1);
    return 0;
}

int path_stem(char *name, size_t size, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *start = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(start, '.');
    const size_t length = dot != NULL && dot > start ? (size_t)(dot - start) : strlen(start);
    if (length == 0 || length >= size)
        return failure("the file name of '%s' must have 1 to %zu bytes before its suffix", path,
                       size - 1);
    memcpy(name, start, length);
    name[length] = '\0';
    return 0;
}

int make_directories(const char *path)
{
    char part[PATH_SIZE];
    const size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return failure("'%s' cannot be a directory: a path has 1 to %d bytes", path, PATH_SIZE - 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        struct stat status;
        if (mkdir(part, 0777) != 0 && (stat(part, &status) != 0 || !S_ISDIR(status.st_mode)))
            return failure("cannot make the directory '%s': %s", part, strerror(errno));
    }
    return 0;
}

char *read_whole_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    long length = -1;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) >= 0)
        rewind(file);
    char *bytes = length >= 0 ? malloc((size_t)length + 1) : NULL;
    if (bytes == NULL || fread(bytes, 1, (size_t)length, file) != (size_t)length) {
        failure("cannot read '%s': %s", path, strerror(errno));
        free(bytes);
        bytes = NULL;
    } else {
        bytes[length] = '\0';
        *size = (size_t)length;
    }
    if (file != NULL)
        fclose(file);
    return bytes;
}

int same_files(const char *first, const char *second)
{
    size_t size_1 = 0, size_2 = 0;
    char *const bytes_1 = read_whole_file(first, &size_1);
    char *const bytes_2 = read_whole_file(second, &size_2);
    int same = -1;
    if (bytes_1 != NULL && bytes_2 != NULL)
        same = size_1 == size_2 && memcmp(bytes_1, bytes_2, size_1) == 0;
    free(bytes_1);
    free(bytes_2);
    return same;
}

int name_list_add(name_list *list, const char *name)
{
    char **const names = realloc(list->names, ((size_t)list->count + 1) * sizeof *names);
    if (names != NULL)
        list->names = names;
    char *const copy = names != NULL ? strdup(name) : NULL;
    if (copy == NULL)
        return failure("no memory for a list of names");
    list->names[list->count++] = copy;
    return 0;
}

void name_list_free(name_list *list)
{
    for (int i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    *list = (name_list){0};
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int list_directory(name_list *list, const char *directory, const char *suffix)
{
    DIR *handle = opendir(directory);
    if (handle == NULL)
        return failure("cannot read the directory '%s': %s", directory, strerror(errno));
    const int first = list->count;
    const size_t tail = strlen(suffix);
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(handle)) != NULL;) {
        const size_t length = strlen(entry->d_name);
        char path[PATH_SIZE];
        if (length <= tail || strcmp(entry->d_name + length - tail, suffix) != 0)
            continue;
        result = path_join(path, directory, entry->d_name);
        if (result == 0)
            result = name_list_add(list, path);
    }
    closedir(handle);
    if (list->count > first)
        qsort(list->names + first, (size_t)(list->count - first), sizeof(char *), compare_names);
    return result;
}
