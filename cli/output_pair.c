/* SPDX-License-Identifier: Apache-2.0 */
/* Two files replaced together, through rename and a hard link that keeps the first one's old
 * content until the second is in place. */
#include "output_pair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "report.h"
#include "terminal/text.h"

static int refuse(const output *output, const char *reason)
{
    return report_failure("cannot write \"%s\": %s", output->name, reason);
}

/* "/directory/name", or NULL with errno set. */
static char *resolve_new(const char *name)
{
    char *const copy = text_copy(name);
    char *const slash = strrchr(copy, '/');
    const char *const base = slash == NULL ? name : name + (slash - copy) + 1;
    const char *directory = ".";
    if (slash == copy) {
        directory = "/";
    } else if (slash != NULL) {
        *slash = '\0';
        directory = copy;
    }
    struct stat about;
    char *const resolved = realpath(directory, NULL);
    free(copy);
    if (resolved == NULL)
        return NULL;
    if (stat(resolved, &about) != 0 || !S_ISDIR(about.st_mode)) {
        free(resolved);
        errno = ENOTDIR;
        return NULL;
    }
    const size_t size = strlen(resolved) + strlen(base) + 2;
    char *const path = text_allocate(size);
    snprintf(path, size, "%s/%s", strcmp(resolved, "/") == 0 ? "" : resolved, base);
    free(resolved);
    return path;
}

/* The directory of a resolved path, the caller's to free. */
static char *directory_of(const char *target)
{
    char *const directory = text_copy(target);
    char *const slash = strrchr(directory, '/');
    slash[slash == directory ? 1 : 0] = '\0';
    return directory;
}

/* Found out now, before any work, where the system can tell. */
static int check_directory(const output *output)
{
    char *const directory = directory_of(output->target);
    const int code =
        access(directory, W_OK | X_OK) == 0 ? EXIT_DONE : refuse(output, strerror(errno));
    free(directory);
    return code;
}

static char *name_beside(const char *target, const char *ending)
{
    const size_t size = strlen(target) + strlen(ending) + 32;
    char *const path = text_allocate(size);
    snprintf(path, size, "%s.%ld.%s", target, (long)getpid(), ending);
    return path;
}

int output_begin(output *output, const char *name)
{
    *output = (struct output){.name = name};
    struct stat about;
    const size_t length = strlen(name);
    if (name[length - 1] == '/')
        return refuse(output, "it does not name a file");
    const int is_there = lstat(name, &about) == 0;
    output->target = is_there ? realpath(name, NULL) : resolve_new(name);
    if (output->target == NULL)
        return refuse(output, strerror(errno));
    if (is_there && (stat(output->target, &about) != 0 || !S_ISREG(about.st_mode)))
        return refuse(output, "it exists and is not a regular file");
    output->temporary = name_beside(output->target, "new");
    return check_directory(output);
}

int output_same(const output *a, const output *b)
{
    struct stat about_a, about_b;
    if (stat(a->target, &about_a) == 0 && stat(b->target, &about_b) == 0)
        return about_a.st_dev == about_b.st_dev && about_a.st_ino == about_b.st_ino;
    return strcmp(a->target, b->target) == 0;
}

int output_failed(const output *output, const hone_error *error)
{
    const char *const inner = strstr(error->message, output->temporary);
    if (inner == NULL)
        return report_error(error);
    return report_failure("%.*s%s%s", (int)(inner - error->message), error->message, output->name,
                          inner + strlen(output->temporary));
}

/* A replaced file's mode stays. */
static void keep_mode(const output *output)
{
    struct stat about;
    if (stat(output->target, &about) == 0)
        chmod(output->temporary, about.st_mode & 07777);
}

/* Makes the renames last; the files are whole already, so a failure here is no reason to fail. */
static void sync_directory(const output *output)
{
    char *const directory = directory_of(output->target);
    const int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (descriptor < 0)
        return;
    fsync(descriptor);
    close(descriptor);
}

/* Gives the first target back what it held. `kept` tells whether `old` has it. */
static void put_back(const output *output, const char *old, int kept, int was_there)
{
    if (kept && rename(old, output->target) == 0)
        return;
    if (!was_there && unlink(output->target) == 0)
        return;
    report_warning("\"%s\" is replaced already and could not be put back", output->name);
}

static int replace_both(output *first, output *second, const char *old)
{
    const int was_there = access(first->target, F_OK) == 0;
    const int kept = was_there && link(first->target, old) == 0;
    if (rename(first->temporary, first->target) != 0) {
        const int reason = errno;
        if (kept)
            unlink(old);
        return refuse(first, strerror(reason));
    }
    if (rename(second->temporary, second->target) != 0) {
        const int reason = errno;
        put_back(first, old, kept, was_there);
        return refuse(second, strerror(reason));
    }
    if (kept)
        unlink(old);
    return EXIT_DONE;
}

int output_commit(output *first, output *second)
{
    keep_mode(first);
    keep_mode(second);
    char *const old = name_beside(first->target, "old");
    const int code = replace_both(first, second, old);
    free(old);
    if (code != EXIT_DONE)
        return code;
    sync_directory(first);
    sync_directory(second);
    return EXIT_DONE;
}

int output_commit_alone(output *output)
{
    keep_mode(output);
    if (rename(output->temporary, output->target) != 0)
        return refuse(output, strerror(errno));
    sync_directory(output);
    return EXIT_DONE;
}

void output_end(output *output)
{
    if (output->temporary != NULL)
        unlink(output->temporary);
    free(output->temporary);
    free(output->target);
    *output = (struct output){0};
}
