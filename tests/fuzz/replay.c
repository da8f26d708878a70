/* SPDX-License-Identifier: Apache-2.0 */
/* Gives every file of the folders on the command line to a fuzz target once, without libFuzzer, so
 * that each compiler, sanitizer and valgrind sees the whole corpus. No file at all is a failure. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A block of exactly the file's size, so that reading past its end is seen. */
static int replay_file(const char *path, size_t size)
{
    uint8_t *const data = malloc(size == 0 ? 1 : size);
    FILE *const file = fopen(path, "rb");
    const int ok = data != NULL && file != NULL && fread(data, 1, size, file) == size;
    if (ok)
        LLVMFuzzerTestOneInput(data, size);
    else
        fprintf(stderr, "%s cannot be read\n", path);
    if (file != NULL)
        fclose(file);
    free(data);
    return ok ? 0 : -1;
}

/* The number of files, or -1. */
static int replay_folder(const char *folder)
{
    DIR *const stream = opendir(folder);
    if (stream == NULL) {
        fprintf(stderr, "%s is not a folder that can be read\n", folder);
        return -1;
    }
    int count = 0;
    for (const struct dirent *entry; count >= 0 && (entry = readdir(stream)) != NULL;) {
        char path[4096];
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (stat(path, &about) == 0 && S_ISREG(about.st_mode))
            count = replay_file(path, (size_t)about.st_size) == 0 ? count + 1 : -1;
    }
    closedir(stream);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        const int count = replay_folder(argv[i]);
        if (count < 0)
            return 1;
        total += count;
    }
    printf("%d inputs replayed\n", total);
    return total == 0;
}
