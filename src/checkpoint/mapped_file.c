/* SPDX-License-Identifier: Apache-2.0 */
/* Mapping files: only regular ones, and without waiting for pipes or devices. */
#include "checkpoint/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/atomic_file.h"

static hone_status map_descriptor(const void **bytes, size_t *size, int descriptor,
                                  const char *path, hone_error *error)
{
    struct stat about;
    if (fstat(descriptor, &about) != 0)
        return hone_fail_system(error, errno, "examine", path);
    if (!S_ISREG(about.st_mode))
        return hone_fail(error, HONE_ERROR_IO, "cannot read '%.500s': it is %s", path,
                         S_ISDIR(about.st_mode) ? "a directory" : "not a regular file");
    if (about.st_size == 0)
        return hone_fail_at(error, HONE_ERROR_FORMAT, 0, "'%.500s': the file is empty", path);
    if ((uintmax_t)about.st_size > SIZE_MAX)
        return hone_fail(error, HONE_ERROR_IO, "cannot read '%.500s': it is too large to map",
                         path);
    *size = (size_t)about.st_size;
    void *const mapped = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (mapped == MAP_FAILED)
        return hone_fail_system(error, errno, "map", path);
    *bytes = mapped;
    return HONE_OK;
}

hone_status hone_map_file(const void **bytes, size_t *size, const char *path, hone_error *error)
{
    /* O_NONBLOCK: a pipe or a device must not make us wait before it can be refused. */
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0)
        return hone_fail_system(error, errno, "open", path);
    const hone_status status = map_descriptor(bytes, size, descriptor, path, error);
    close(descriptor);
    return status;
}

void hone_unmap_file(const void *bytes, size_t size)
{
    munmap((void *)(uintptr_t)bytes, size);
}
