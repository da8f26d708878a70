/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and reads safetensors files for the shell tests, through the public interface alone:
 *   tensor_file write FILE [note:KEY=VALUE | NAME DTYPE SHAPE VALUES]...
 *   tensor_file print FILE NAME
 *   tensor_file near FILE NAME TOLERANCE VALUES
 * SHAPE is 2x3, 0 or scalar. VALUES is 1,2.5,... or all:V; 16-bit floats are given and printed as
 * hexadecimal bits. "near" exits with 1 if a value differs relatively by more than TOLERANCE. */
#include <hone/hone.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, MOST_DIMENSIONS = 8 };

static void fail(const char *message)
{
    fprintf(stderr, "tensor_file: %s\n", message);
    exit(2);
}

/* What lives until the program ends is noted here, so that leak checkers see that it is wanted. */
static void *kept[4 * MOST];
static int kept_count;

static void *keep(void *memory)
{
    if (memory == NULL || kept_count == (int)(sizeof kept / sizeof kept[0]))
        fail("too much to keep");
    return kept[kept_count++] = memory;
}

static hone_dtype find_dtype(const char *name)
{
    for (int i = 0; i < HONE_DTYPE_COUNT; i++)
        if (strcmp(hone_dtype_name((hone_dtype)i), name) == 0)
            return (hone_dtype)i;
    fail("unknown dtype");
    return HONE_DTYPE_COUNT;
}

static int is_complex(hone_dtype dtype)
{
    return dtype == HONE_C64 || dtype == HONE_C128;
}

static int64_t numbers_of(const hone_tensor *tensor)
{
    return hone_tensor_numel(tensor) * (is_complex(tensor->dtype) ? 2 : 1);
}

static void store(void *data, hone_dtype dtype, int64_t i, const char *text, char **end)
{
    switch (dtype) {
    case HONE_F32:
    case HONE_C64:
        ((float *)data)[i] = strtof(text, end);
        break;
    case HONE_F64:
    case HONE_C128:
        ((double *)data)[i] = strtod(text, end);
        break;
    case HONE_BF16:
    case HONE_F16:
        ((uint16_t *)data)[i] = (uint16_t)strtoul(text, end, 16);
        break;
    case HONE_I64:
        ((int64_t *)data)[i] = strtoll(text, end, 10);
        break;
    default:
        fail("values of this dtype are not made here");
    }
}

static int32_t read_shape(int64_t *shape, const char *text)
{
    if (strcmp(text, "scalar") == 0)
        return 0;
    int32_t ndim = 0;
    char *end = NULL;
    do {
        if (ndim == MOST_DIMENSIONS)
            fail("too many dimensions");
        shape[ndim++] = strtoll(text, &end, 10);
        text = end + 1;
    } while (*end == 'x');
    return ndim;
}

static hone_tensor make_tensor(const char *dtype_name, const char *shape_text, const char *values)
{
    int64_t *const shape = keep(calloc(MOST_DIMENSIONS, sizeof *shape));
    const int32_t ndim = read_shape(shape, shape_text);
    hone_tensor tensor = hone_tensor_view(NULL, find_dtype(dtype_name), ndim, shape);
    const int64_t count = numbers_of(&tensor);
    tensor.data = keep(calloc((size_t)count + 1, 8));
    const int same = strncmp(values, "all:", 4) == 0;
    const char *at = same ? values + 4 : values;
    for (int64_t i = 0; i < count; i++) {
        char *end = NULL;
        store(tensor.data, tensor.dtype, i, at, &end);
        if (end == at)
            fail("too few values");
        at = same ? at : end + (*end == ',');
    }
    return tensor;
}

static int write_file(const hone_context *context, int argc, char **argv)
{
    hone_file_entry entries[MOST];
    hone_file_pair notes[MOST];
    int64_t count = 0, note_count = 0;
    for (int i = 1; i < argc;) {
        char *const equals = strchr(argv[i], '=');
        if (strncmp(argv[i], "note:", 5) == 0 && equals != NULL) {
            *equals = '\0';
            notes[note_count++] = (hone_file_pair){argv[i++] + 5, equals + 1};
            continue;
        }
        if (i + 4 > argc || count == MOST)
            fail("write FILE [note:KEY=VALUE | NAME DTYPE SHAPE VALUES]...");
        entries[count++] =
            (hone_file_entry){argv[i], make_tensor(argv[i + 1], argv[i + 2], argv[i + 3])};
        i += 4;
    }
    hone_error error;
    if (hone_file_write(context, argv[0], entries, count, notes, note_count, &error) != HONE_OK)
        fail(error.message);
    return 0;
}

static hone_tensor find_tensor(const hone_context *context, const char *path, const char *name)
{
    hone_file *file = NULL;
    hone_tensor tensor;
    hone_error error;
    if (hone_file_open(&file, context, path, &error) != HONE_OK)
        fail(error.message);
    keep(file);
    const int64_t index = hone_file_find(file, name);
    if (index < 0)
        fail("there is no tensor of that name");
    if (hone_file_tensor(file, index, &tensor, &error) != HONE_OK)
        fail(error.message);
    return tensor;
}

static double number_at(const hone_tensor *tensor, int64_t i)
{
    switch (tensor->dtype) {
    case HONE_F32:
    case HONE_C64:
        return (double)((const float *)tensor->data)[i];
    case HONE_F64:
    case HONE_C128:
        return ((const double *)tensor->data)[i];
    case HONE_I64:
        return (double)((const int64_t *)tensor->data)[i];
    case HONE_U32:
        return ((const uint32_t *)tensor->data)[i];
    default:
        return (double)NAN;
    }
}

static int print_tensor(const hone_tensor *tensor)
{
    for (int64_t i = 0; i < numbers_of(tensor); i++)
        if (hone_dtype_size(tensor->dtype) == 2)
            printf("%s%04x", i == 0 ? "" : ",", ((const uint16_t *)tensor->data)[i]);
        else
            printf("%s%.9g", i == 0 ? "" : ",", number_at(tensor, i));
    putchar('\n');
    return 0;
}

static int compare(const hone_tensor *tensor, double tolerance, const char *values)
{
    for (int64_t i = 0; i < numbers_of(tensor); i++) {
        char *end = NULL;
        const double wanted = strtod(values, &end), found = number_at(tensor, i);
        if (end == values)
            fail("too few values");
        values = end + (*end == ',');
        if (!(fabs(found - wanted) <= tolerance * fabs(wanted) + 1e-14)) {
            printf("value %" PRId64 " is %.17g, wanted %.17g\n", i, found, wanted);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    hone_context *context = NULL;
    if (argc < 3 || hone_context_create(&context, NULL, NULL) != HONE_OK)
        fail("write, print or near");
    keep(context);
    if (strcmp(argv[1], "write") == 0)
        return write_file(context, argc - 2, argv + 2);
    if (strcmp(argv[1], "print") == 0 && argc == 4) {
        const hone_tensor tensor = find_tensor(context, argv[2], argv[3]);
        return print_tensor(&tensor);
    }
    if (strcmp(argv[1], "near") == 0 && argc == 6) {
        const hone_tensor tensor = find_tensor(context, argv[2], argv[3]);
        return compare(&tensor, strtod(argv[4], NULL), argv[5]);
    }
    fail("write, print or near");
    return 2;
}
