/* SPDX-License-Identifier: Apache-2.0 */
/* hone mask make: of every tensor the elements with the largest gradients, over one file or several.
 */
#include "mask_make.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <hone/hone.h>

#include "command.h"
#include "options.h"
#include "report.h"
#include "terminal/bar.h"
#include "terminal/text.h"

typedef struct making {
    const char **paths; /* of the gradients */
    int path_count;
    const char *out;
    double fraction;
    bool intersect, sum;
    hone_context *context;
    hone_file **files;
    hone_mask_set *set;
} making;

/* ---- the files ------------------------------------------------------------------------------ */

static bool same_shape(const hone_tensor *a, const hone_tensor *b)
{
    if (a->ndim != b->ndim)
        return false;
    for (int32_t d = 0; d < a->ndim; d++)
        if (a->shape[d] != b->shape[d])
            return false;
    return true;
}

/* Tensor `index` of the first file, in file `k`. */
static hone_tensor tensor_of(const making *making, int k, int64_t index)
{
    hone_tensor tensor = {0};
    const char *const name = hone_file_name(making->files[0], index);
    hone_file_tensor(making->files[k], hone_file_find(making->files[k], name), &tensor, NULL);
    return tensor;
}

/* Every file must hold the names and shapes of the first. */
static int check_file(const making *making, int k)
{
    const hone_file *const first = making->files[0], *const file = making->files[k];
    for (int64_t i = 0; i < hone_file_count(first); i++) {
        const char *const name = hone_file_name(first, i);
        if (hone_file_find(file, name) < 0)
            return report_failure("'%s' has no tensor '%s', which '%s' has", making->paths[k], name,
                                  making->paths[0]);
        const hone_tensor a = tensor_of(making, 0, i), b = tensor_of(making, k, i);
        if (!same_shape(&a, &b))
            return report_failure("tensor '%s' has another shape in '%s' than in '%s'", name,
                                  making->paths[k], making->paths[0]);
    }
    for (int64_t i = 0; i < hone_file_count(file); i++)
        if (hone_file_find(first, hone_file_name(file, i)) < 0)
            return report_failure("'%s' has no tensor '%s', which '%s' has", making->paths[0],
                                  hone_file_name(file, i), making->paths[k]);
    return 0;
}

static int open_files(making *making)
{
    hone_error error;
    for (int k = 0; k < making->path_count; k++) {
        if (hone_file_open(&making->files[k], making->context, making->paths[k], &error) != HONE_OK)
            return report_error(&error);
        const int code = check_file(making, k);
        if (code != 0)
            return code;
    }
    return 0;
}

/* ---- sums ----------------------------------------------------------------------------------- */

static double half_to_double(uint16_t bits)
{
    const int exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
    if (exponent == 0x1f)
        return fraction != 0 ? NAN : INFINITY;
    return exponent == 0 ? ldexp(fraction, -24) : ldexp(fraction + 0x400, exponent - 25);
}

static double brain_to_double(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* Adds absolute values; false for a dtype that has no order. */
static bool add_sizes(double *sums, const hone_tensor *tensor)
{
    const int64_t numel = hone_tensor_numel(tensor);
    switch (tensor->dtype) {
    case HONE_F32:
        for (int64_t i = 0; i < numel; i++)
            sums[i] += fabs((double)((const float *)tensor->data)[i]);
        return true;
    case HONE_F64:
        for (int64_t i = 0; i < numel; i++)
            sums[i] += fabs(((const double *)tensor->data)[i]);
        return true;
    case HONE_BF16:
        for (int64_t i = 0; i < numel; i++)
            sums[i] += fabs(brain_to_double(((const uint16_t *)tensor->data)[i]));
        return true;
    case HONE_F16:
        for (int64_t i = 0; i < numel; i++)
            sums[i] += half_to_double(((const uint16_t *)tensor->data)[i]);
        return true;
    default:
        return false;
    }
}

static hone_status rank_sums(const making *making, int64_t index, hone_mask **mask,
                             hone_error *error)
{
    const hone_tensor first = tensor_of(making, 0, index);
    const size_t numel = (size_t)hone_tensor_numel(&first);
    double *const sums = text_allocate((numel + 1) * sizeof *sums);
    memset(sums, 0, numel * sizeof *sums);
    hone_tensor ranked = hone_tensor_view(sums, HONE_F64, first.ndim, first.shape);
    for (int k = 0; k < making->path_count; k++) {
        const hone_tensor tensor = tensor_of(making, k, index);
        if (!add_sizes(sums, &tensor))
            ranked = tensor; /* the library says what is wrong with it */
    }
    const hone_status status =
        hone_mask_top_fraction(mask, making->context, &ranked, making->fraction, error);
    free(sums);
    return status;
}

/* ---- masks ---------------------------------------------------------------------------------- */

/* What the masks of all files have in common; of one file its mask. */
static hone_status intersect(const making *making, int64_t index, hone_mask **mask,
                             hone_error *error)
{
    hone_status status = HONE_OK;
    hone_mask *common = NULL;
    for (int k = 0; k < making->path_count && status == HONE_OK; k++) {
        const hone_tensor tensor = tensor_of(making, k, index);
        hone_mask *top = NULL, *both = NULL;
        status = hone_mask_top_fraction(&top, making->context, &tensor, making->fraction, error);
        if (status == HONE_OK && common != NULL) {
            status = hone_mask_combine(&both, common, top, HONE_MASK_AND, error);
            hone_mask_free(top);
            hone_mask_free(common);
            common = both;
        } else {
            common = status == HONE_OK ? top : common;
        }
    }
    if (status == HONE_OK)
        *mask = common;
    else
        hone_mask_free(common);
    return status;
}

static int make_masks(making *making)
{
    hone_error error;
    if (hone_mask_set_create(&making->set, making->context, &error) != HONE_OK)
        return report_error(&error);
    const int64_t count = hone_file_count(making->files[0]);
    int code = 0;
    bar bar;
    bar_begin(&bar);
    for (int64_t i = 0; i < count && code == 0; i++) {
        hone_mask *mask = NULL;
        const char *const name = hone_file_name(making->files[0], i);
        bar_show(&bar, "tensors", i, count);
        hone_status status =
            making->sum ? rank_sums(making, i, &mask, &error) : intersect(making, i, &mask, &error);
        if (status != HONE_OK)
            code = report_failure("tensor '%s': %s", name, error.message);
        else if (hone_mask_set_add(making->set, name, mask, &error) != HONE_OK)
            code = report_error(&error);
        hone_mask_free(mask);
    }
    bar_end(&bar);
    return code;
}

static int write_masks(const making *making)
{
    hone_error error;
    if (hone_mask_set_save(making->set, making->out, &error) != HONE_OK)
        return report_error(&error);
    int64_t elements = 0, trues = 0;
    for (int64_t i = 0; i < hone_mask_set_count(making->set); i++) {
        elements += hone_mask_numel(hone_mask_set_mask(making->set, i));
        trues += hone_mask_count(hone_mask_set_mask(making->set, i));
    }
    printf("%" PRId64 " masks, %" PRId64 " of %" PRId64 " elements true\n",
           hone_mask_set_count(making->set), trues, elements);
    return EXIT_DONE;
}

static int run_making(making *making)
{
    hone_error error;
    if (hone_context_create(&making->context, NULL, &error) != HONE_OK)
        return report_error(&error);
    int code = open_files(making);
    if (code == 0)
        code = make_masks(making);
    return code == 0 ? write_masks(making) : code;
}

/* ---- arguments ------------------------------------------------------------------------------ */

static int read_fraction(const char *text, double *fraction)
{
    char *end = NULL;
    *fraction = strtod(text, &end);
    if (end == text || *end != '\0' || !(*fraction >= 0 && *fraction <= 1))
        return report_usage("mask", "--top is \"%s\"; it must be a number from 0 to 1", text);
    return 0;
}

static int check_arguments(making *making, const char *top)
{
    const int code = read_fraction(top, &making->fraction);
    if (code != 0)
        return code;
    if (making->intersect && making->sum)
        return report_usage("mask", "--intersect and --sum exclude each other");
    if (making->path_count > 1 && !making->intersect && !making->sum)
        return report_usage("mask", "%d gradient files need --intersect or --sum",
                            making->path_count);
    return 0;
}

int mask_make(int argc, char **argv)
{
    making making = {0};
    const char *top = NULL, *from = NULL;
    const option options[] = {{.name = "top", .value = &top, .required = true},
                              {.name = "from", .value = &from, .required = true},
                              {.name = "intersect", .flag = &making.intersect},
                              {.name = "sum", .flag = &making.sum},
                              {0}};
    const size_t room = (size_t)argc + 1;
    making.paths = text_allocate(room * sizeof *making.paths);
    making.files = text_allocate(room * sizeof *making.files);
    memset(making.files, 0, room * sizeof *making.files);
    option_list list = {.command = "mask",
                        .options = options,
                        .arguments = making.paths + 1,
                        .least_arguments = 1,
                        .most_arguments = argc};
    int code = options_read(&list, argc, argv);
    if (code == 0) {
        making.paths[0] = from;
        making.path_count = list.argument_count; /* the first option's, without the last, OUT */
        making.out = making.paths[list.argument_count];
        code = check_arguments(&making, top);
    }
    if (code == 0)
        code = run_making(&making);
    for (int k = 0; k < making.path_count; k++)
        hone_file_close(making.files[k]);
    hone_mask_set_free(making.set);
    hone_context_free(making.context);
    free(making.files);
    free(making.paths);
    return code;
}
