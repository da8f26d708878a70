/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing a file atomically through POSIX calls: O_EXCL, fsync, rename, fsync of the directory.
 * The file has a name from the start: of one without (O_TMPFILE) some file systems skip the fsync,
 * so it could be empty after a power failure. */
#include "checkpoint/atomic_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kernel/noise.h"

#define MAX_ATTEMPTS 16             /* names tried; the second one is all but never needed */
#define MAX_WRITE ((size_t)1 << 30) /* one call's share: some systems refuse more than 2 GiB */
#define NAME_FORMAT ".hone-%016" PRIx64 ".tmp"
#define NAME_DIGITS 16
#define NAME_ROOM 32                /* for NAME_FORMAT's text */
#define LEFTOVER_AGE (24 * 60 * 60) /* seconds without a write, after which a file is given up */

hone_status hone_fail_system(hone_error *error, int code, const char *doing, const char *path)
{
    /* C libraries in use keep known reasons constant and unknown ones per thread. */
    const char *reason = strerror(code);
    return hone_fail(error, HONE_ERROR_IO, "cannot %s '%.500s': %s", doing, path, reason);
}

/* A link is followed, so that what it points to is replaced and the link stays. */
static hone_status resolve_target(struct hone_atomic_file *file, const char *path,
                                  const struct stat *itself, hone_error *error)
{
    if (!S_ISLNK(itself->st_mode)) {
        file->target = hone_copy_string(file->context, path);
    } else {
        char *resolved = realpath(path, NULL);
        if (resolved == NULL)
            return hone_fail_system(error, errno, "follow the link", path);
        file->target = hone_copy_string(file->context, resolved);
        free(resolved);
    }
    if (file->target == NULL)
        return hone_fail_memory(error, strlen(path) + 1, "a file's path");
    return HONE_OK;
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* 64 bits that no writer has had or will have, on whatever host and in whatever namespace. Process
 * numbers are no such thing: every container has its process 7. */
static uint64_t new_number(int attempt)
{
    uint64_t number;
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) == (ssize_t)sizeof number)
        return number;
    struct timespec now = {0}; /* no such call here, or the system has just started */
    clock_gettime(CLOCK_REALTIME, &now);
    number = hone_mix((uint64_t)now.tv_sec ^ hone_mix((uint64_t)now.tv_nsec));
    return hone_mix(number ^ hone_mix((uint64_t)getpid() ^ hone_mix((uint64_t)attempt)));
}

static void name_temporary(struct hone_atomic_file *file, int attempt)
{
    int directory = (int)(last_component(file->target) - file->target);
    snprintf(file->temporary, file->temporary_size, "%.*s" NAME_FORMAT, directory, file->target,
             new_number(attempt));
}

/* The directory's path ends in "/.", or is ".". */
static hone_status make_names(struct hone_atomic_file *file, hone_error *error)
{
    int directory = (int)(last_component(file->target) - file->target);
    file->directory_size = (size_t)directory + sizeof(".");
    file->temporary_size = (size_t)directory + NAME_ROOM;
    file->directory = hone_allocate(file->context, file->directory_size);
    file->temporary = hone_allocate(file->context, file->temporary_size);
    if (file->directory == NULL || file->temporary == NULL)
        return hone_fail_memory(error, file->temporary_size, "a file's path");
    snprintf(file->directory, file->directory_size, "%.*s.", directory, file->target);
    return HONE_OK;
}

static bool create(struct hone_atomic_file *file, mode_t mode)
{
    for (int attempt = 0; attempt < MAX_ATTEMPTS && file->descriptor < 0; attempt++) {
        name_temporary(file, attempt);
        file->descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (file->descriptor < 0 && errno != EEXIST && errno != EINTR)
            break;
    }
    file->named = file->descriptor >= 0;
    return file->named;
}

/* ---- files that killed writers left ---------------------------------------------------------- */

/* Whether name_temporary may have made it, in whatever process. */
static bool is_temporary(const char *name)
{
    static const char start[] = ".hone-";
    if (strncmp(name, start, sizeof(start) - 1) != 0)
        return false;
    name += sizeof(start) - 1;
    return strspn(name, "0123456789abcdef") == NAME_DIGITS &&
           strcmp(name + NAME_DIGITS, ".tmp") == 0;
}

/* Removes temporary files beside the target that have the new file's owner and were last written a
 * day before it. Their age alone is asked: locks and process numbers are not shared by all hosts of
 * every file system. The new file tells the time by the clock that gave the others theirs. No name
 * comes twice, so what is removed is what was found old. A writer that stood still for a day loses
 * its file and says so when it renames it; its target stays as it was. */
static void remove_leftovers(const struct hone_atomic_file *file)
{
    struct stat own, found;
    DIR *const folder = opendir(file->directory);
    if (folder == NULL)
        return;
    const bool known = fstat(file->descriptor, &own) == 0;
    for (const struct dirent *entry; known && (entry = readdir(folder)) != NULL;)
        if (is_temporary(entry->d_name) &&
            fstatat(dirfd(folder), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(found.st_mode) && found.st_uid == own.st_uid &&
            found.st_mtime < own.st_mtime - LEFTOVER_AGE)
            unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
}

/* ---- writing --------------------------------------------------------------------------------- */

hone_status hone_atomic_start(struct hone_atomic_file *file, const hone_context *context,
                              const char *path, hone_error *error)
{
    *file = (struct hone_atomic_file){.context = context, .descriptor = -1};
    if (*last_component(path) == '\0')
        return hone_fail(error, HONE_ERROR_IO, "cannot write '%.500s': it does not name a file",
                         path);
    struct stat itself = {0}, existing = {0};
    bool exists = lstat(path, &itself) == 0;
    if (!exists && errno != ENOENT)
        return hone_fail_system(error, errno, "write", path);
    hone_status status = resolve_target(file, path, &itself, error);
    if (status != HONE_OK)
        return status;
    exists = exists && stat(file->target, &existing) == 0;
    if (exists && !S_ISREG(existing.st_mode))
        return hone_fail(error, HONE_ERROR_IO,
                         "cannot write '%.500s': it exists and is not a regular file", path);
    /* A new file's mode is the system's business: open applies the process's umask. */
    const mode_t mode = exists ? 0600 : 0666;
    status = make_names(file, error);
    if (status != HONE_OK)
        return status;
    if (!create(file, mode))
        return hone_fail_system(error, errno, "create a file beside", file->target);
    if (exists && fchmod(file->descriptor, existing.st_mode & 0777) != 0)
        return hone_fail_system(error, errno, "set the mode of a file beside", file->target);
    remove_leftovers(file); /* before the writing: they may be what fills the disk */
    return HONE_OK;
}

hone_status hone_atomic_write(struct hone_atomic_file *file, const void *bytes, size_t size,
                              hone_error *error)
{
    const unsigned char *at = bytes;
    while (size > 0) {
        ssize_t written = write(file->descriptor, at, size < MAX_WRITE ? size : MAX_WRITE);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return hone_fail_system(error, written == 0 ? EIO : errno, "write", file->target);
        at += written;
        size -= (size_t)written;
    }
    return HONE_OK;
}

/* Makes the rename last. The new file is in place and whole by then, and the old one is gone, so a
 * directory that cannot be opened or synced is no reason to report a failure. */
static void sync_directory(const struct hone_atomic_file *file)
{
    int descriptor = open(file->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    fsync(descriptor);
    close(descriptor);
}

hone_status hone_atomic_commit(struct hone_atomic_file *file, hone_error *error)
{
    /* EINVAL: a file system without anything to sync. */
    if (fsync(file->descriptor) != 0 && errno != EINVAL)
        return hone_fail_system(error, errno, "sync", file->target);
    int closed = close(file->descriptor);
    file->descriptor = -1;
    if (closed != 0 && errno != EINTR)
        return hone_fail_system(error, errno, "close", file->target);
    if (rename(file->temporary, file->target) != 0)
        return hone_fail_system(error, errno, "replace", file->target);
    file->named = false;
    sync_directory(file);
    return HONE_OK;
}

void hone_atomic_end(struct hone_atomic_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    if (file->named)
        unlink(file->temporary);
    hone_release(file->context, file->directory, file->directory_size);
    hone_release(file->context, file->temporary, file->temporary_size);
    if (file->target != NULL)
        hone_string_free(file->context, file->target);
    *file = (struct hone_atomic_file){.context = file->context, .descriptor = -1};
}
