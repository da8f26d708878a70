/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing a file atomically through POSIX calls: O_EXCL, fsync, rename, fsync of the directory.
 */
#include "checkpoint/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_ATTEMPTS 10000          /* names tried before giving up on a crowded directory */
#define MAX_WRITE ((size_t)1 << 30) /* one call's share: some systems refuse more than 2 GiB */
#define TEMPORARY_ROOM 64           /* for the longest name that name_temporary makes */

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

static void name_temporary(struct hone_atomic_file *file, int attempt)
{
    int directory = (int)(last_component(file->target) - file->target);
    snprintf(file->temporary, file->temporary_size, "%.*s.hone-%ld-%d.tmp", directory, file->target,
             (long)getpid(), attempt);
}

static hone_status create_temporary(struct hone_atomic_file *file, mode_t mode, hone_error *error)
{
    size_t size = strlen(file->target) + TEMPORARY_ROOM;
    file->temporary = hone_allocate(file->context, size);
    if (file->temporary == NULL)
        return hone_fail_memory(error, size, "a file's path");
    file->temporary_size = size;
    for (int attempt = 0; attempt < MAX_ATTEMPTS && file->descriptor < 0; attempt++) {
        name_temporary(file, attempt);
        file->descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (file->descriptor < 0 && errno != EEXIST && errno != EINTR)
            break;
    }
    if (file->descriptor >= 0)
        return HONE_OK;
    int code = errno;
    hone_release(file->context, file->temporary, size); /* there is nothing to remove */
    file->temporary = NULL;
    return hone_fail_system(error, code, "create a file beside", file->target);
}

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
    status = create_temporary(file, exists ? 0600 : 0666, error);
    if (status == HONE_OK && exists && fchmod(file->descriptor, existing.st_mode & 0777) != 0)
        return hone_fail_system(error, errno, "set the mode of", file->temporary);
    return status;
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
static void sync_directory(struct hone_atomic_file *file)
{
    char *end = file->temporary + (last_component(file->temporary) - file->temporary);
    *end = '\0';
    const char *directory = file->temporary[0] == '\0' ? "." : file->temporary;
    int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
    sync_directory(file);
    hone_release(file->context, file->temporary, file->temporary_size);
    file->temporary = NULL;
    return HONE_OK;
}

void hone_atomic_end(struct hone_atomic_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    if (file->temporary != NULL) {
        unlink(file->temporary);
        hone_release(file->context, file->temporary, file->temporary_size);
    }
    if (file->target != NULL)
        hone_string_free(file->context, file->target);
    *file = (struct hone_atomic_file){.context = file->context, .descriptor = -1};
}
