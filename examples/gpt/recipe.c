/* SPDX-License-Identifier: Apache-2.0 */
/* Hands a file's text to hone_spec_parse and turns its byte offset into a line and a column. */
#include "recipe.h"
#include "files.h"
#include "report.h"

#include <stdlib.h>

static int report_spec(const char *path, const char *text, size_t size, const hone_error *error)
{
    if (error->offset < 0 || (uint64_t)error->offset > size)
        return failure("%s: %s", path, error->message);
    int line = 1, column = 1;
    for (int64_t i = 0; i < error->offset; i++) {
        column = text[i] == '\n' ? 1 : column + 1;
        line += text[i] == '\n';
    }
    return failure("%s:%d:%d: %s", path, line, column, error->message);
}

int recipe_load(hone_spec **spec, const hone_context *context, const char *path)
{
    size_t size = 0;
    char *const text = read_whole_file(path, &size);
    if (text == NULL)
        return -1;
    hone_error error;
    int result = 0;
    if (hone_spec_parse(spec, context, text, size, &error) != HONE_OK)
        result = report_spec(path, text, size, &error);
    free(text);
    return result;
}

int recipe_check_patterns(const hone_spec *spec, const char *path, gpt_model *model)
{
    const int count = gpt_tensor_count(model);
    const char **const names = malloc((size_t)count * sizeof *names);
    if (names == NULL)
        return failure("no memory for %d names", count);
    for (int i = 0; i < count; i++)
        names[i] = gpt_tensor_at(model, i)->name;
    int group = 0, index = 0;
    const char *pattern;
    while ((pattern = hone_spec_unmatched(spec, names, count, &group, &index)) != NULL)
        warning("%s: the pattern \"%s\" of group %d matches no tensor", path, pattern, group);
    free(names);
    return 0;
}
