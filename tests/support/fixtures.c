/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fixtures.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

hone_context *context;

int open_context(void **state)
{
    (void)state;
    return hone_context_create(&context, NULL, NULL) == HONE_OK ? 0 : -1;
}

int open_single_context(void **state)
{
    (void)state;
    hone_context_options options;
    hone_context_options_init(&options);
    options.threads = 1;
    options.seed = 7;
    return hone_context_create(&context, &options, NULL) == HONE_OK ? 0 : -1;
}

int close_context(void **state)
{
    (void)state;
    hone_context_free(context);
    return 0;
}

hone_spec *parse_spec(const char *json)
{
    hone_spec *spec = NULL;
    hone_error error;
    if (hone_spec_parse(&spec, context, json, strlen(json), &error) != HONE_OK)
        fail_msg("%s: %s", json, error.message);
    return spec;
}

void make_folder(char path[FOLDER_SIZE])
{
    snprintf(path, FOLDER_SIZE, "/tmp/hone-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

void remove_folder(const char *path)
{
    DIR *const folder = opendir(path);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char file[512];
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        unlink(file);
    }
    closedir(folder);
    rmdir(path);
}
