/* SPDX-License-Identifier: Apache-2.0 */
/* From files to an optimizer: parameters are copied, gradients stay where the file is mapped. Every
 * tensor that could be stepped is registered, also without a gradient, so that the state of one
 * that rests in this run is carried on. */
#include "stepping.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "nearest.h"
#include "placing.h"
#include "report.h"
#include "terminal/text.h"

enum { ALIGNMENT = 64 };

/* ---- names ---------------------------------------------------------------------------------- */

static int refuse_gradient(const stepping *stepping, const char *name)
{
    const int64_t count = hone_file_count(stepping->params);
    const char **const names = text_allocate((size_t)count * sizeof *names);
    for (int64_t i = 0; i < count; i++)
        names[i] = hone_file_name(stepping->params, i);
    const char *const near = nearest_name(name, names, count);
    const int code = report_failure("the gradient \"%s\" has no parameter of that name%s%s%s", name,
                                    near == NULL ? "" : "; nearest: \"", near == NULL ? "" : near,
                                    near == NULL ? "" : "\"");
    free(names);
    return code;
}

static int check_gradients(const stepping *stepping)
{
    for (int64_t i = 0; i < hone_file_count(stepping->grads); i++) {
        const char *const name = hone_file_name(stepping->grads, i);
        if (hone_file_find(stepping->params, name) < 0)
            return refuse_gradient(stepping, name);
    }
    return EXIT_DONE;
}

static bool can_be_stepped(hone_dtype dtype)
{
    return dtype <= HONE_C128;
}

/* A tensor without a gradient that cannot be a parameter is only copied through; one with a
 * gradient is always registered, so that the library says what is wrong with it. */
static bool is_parameter(const stepping *stepping, const hone_file_entry *entry)
{
    if (hone_file_find(stepping->grads, entry->name) >= 0)
        return true;
    return can_be_stepped(entry->tensor.dtype) && entry->name[0] != '\0' &&
           strchr(entry->name, '@') == NULL;
}

/* ---- the optimizer -------------------------------------------------------------------------- */

static void *copy_data(const hone_tensor *tensor)
{
    const size_t size = (size_t)hone_tensor_numel(tensor) * hone_dtype_size(tensor->dtype);
    void *memory = NULL;
    if (posix_memalign(&memory, ALIGNMENT, size == 0 ? 1 : size) != 0) {
        char text[TEXT_NUMBER_SIZE];
        report_failure("out of memory: a tensor takes %s", text_bytes(text, size));
        return NULL;
    }
    if (size > 0)
        memcpy(memory, tensor->data, size);
    return memory;
}

static int read_tensors(stepping *stepping)
{
    const int64_t count = hone_file_count(stepping->params);
    stepping->tensors = text_allocate((size_t)count * sizeof *stepping->tensors);
    stepping->copies = text_allocate((size_t)count * sizeof *stepping->copies);
    memset(stepping->copies, 0, (size_t)count * sizeof *stepping->copies);
    for (int64_t i = 0; i < count; i++) {
        hone_file_entry *const entry = &stepping->tensors[i];
        hone_error error;
        entry->name = hone_file_name(stepping->params, i);
        if (hone_file_tensor(stepping->params, i, &entry->tensor, &error) != HONE_OK)
            return report_error(&error);
    }
    return EXIT_DONE;
}

/* Gives every tensor with a gradient memory of its own; the file's is not to be written. */
static int copy_stepped(stepping *stepping)
{
    const int64_t count = hone_file_count(stepping->params);
    for (int64_t i = 0; i < count; i++) {
        hone_file_entry *const entry = &stepping->tensors[i];
        if (hone_file_find(stepping->grads, entry->name) < 0)
            continue;
        bar_show(stepping->bar, "tensors read", i, count);
        stepping->copies[i] = copy_data(&entry->tensor);
        if (stepping->copies[i] == NULL)
            return EXIT_FAILED;
        entry->tensor.data = stepping->copies[i];
    }
    return EXIT_DONE;
}

static int add_parameter(const stepping *stepping, const hone_file_entry *entry)
{
    hone_optimizer *const optimizer = stepping->optimizer;
    hone_error error;
    int64_t index;
    if (hone_optimizer_add(optimizer, entry->name, &entry->tensor, HONE_GROUP_BY_NAME, &index,
                           &error) != HONE_OK)
        return report_error(&error);
    const int64_t grad = hone_file_find(stepping->grads, entry->name);
    hone_tensor tensor;
    if (grad >= 0 && (hone_file_tensor(stepping->grads, grad, &tensor, &error) != HONE_OK ||
                      hone_optimizer_set_grad(optimizer, index, &tensor, &error) != HONE_OK))
        return report_error(&error);
    return EXIT_DONE;
}

static int build_optimizer(stepping *stepping)
{
    hone_error error;
    if (hone_optimizer_create(&stepping->optimizer, stepping->context, stepping->spec, &error) !=
        HONE_OK)
        return report_error(&error);
    int code = EXIT_DONE;
    for (int64_t i = 0; i < hone_file_count(stepping->params) && code == EXIT_DONE; i++)
        if (is_parameter(stepping, &stepping->tensors[i]))
            code = add_parameter(stepping, &stepping->tensors[i]);
    return code;
}

/* ---- masks ---------------------------------------------------------------------------------- */

static void tell_match(hone_mask_match match, const char *name, int64_t index, void *user)
{
    (void)index, (void)user;
    if (match == HONE_MASK_WRONG_SHAPE)
        report_warning("the mask \"%s\" has another shape than its tensor, which stays without one",
                       name);
    if (match == HONE_MASK_NO_PARAMETER)
        report_warning("the mask \"%s\" has no tensor of its name", name);
}

static int set_masks(stepping *stepping)
{
    hone_error error;
    if (stepping->masks == NULL)
        return EXIT_DONE;
    return hone_optimizer_set_masks(stepping->optimizer, stepping->masks, false, tell_match, NULL,
                                    &error) == HONE_OK
               ? EXIT_DONE
               : report_error(&error);
}

/* ---- continuing ----------------------------------------------------------------------------- */

/* Loading brings the recipe that the state was made with; the one that is given wins. */
static int load_state(stepping *stepping)
{
    hone_error error;
    hone_status status = hone_optimizer_load_file(stepping->optimizer, stepping->state, &error);
    if (status == HONE_OK)
        status = hone_optimizer_set_spec(stepping->optimizer, stepping->spec, &error);
    return status == HONE_OK ? EXIT_DONE
                             : report_failure("%s: %s", stepping->state_path, error.message);
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* What of the recipe reaches nothing. */
static int warn_of_recipe(const stepping *stepping)
{
    hone_placement *placement = NULL;
    const int code = place_file(&placement, stepping->context, stepping->spec, stepping->params,
                                stepping->grads);
    if (code == EXIT_DONE)
        warn_of_notices(placement);
    hone_placement_free(placement);
    return code;
}

int stepping_prepare(stepping *stepping)
{
    int code = check_gradients(stepping);
    if (code == EXIT_DONE)
        code = read_tensors(stepping);
    if (code == EXIT_DONE)
        code = copy_stepped(stepping);
    if (code == EXIT_DONE)
        code = build_optimizer(stepping);
    if (code == EXIT_DONE)
        code = set_masks(stepping);
    if (code == EXIT_DONE && stepping->state != NULL)
        code = load_state(stepping);
    if (code == EXIT_DONE)
        code = warn_of_recipe(stepping);
    return code;
}

/* Learning rates move on after each update; what a step adds up or leaves out is none. */
static int move_schedules(stepping *stepping)
{
    hone_error error;
    const hone_status status = hone_optimizer_schedule_step(stepping->optimizer, &error);
    if (status == HONE_ERROR_RANGE) {
        stepping->schedule_ended = true;
        return EXIT_DONE;
    }
    return status == HONE_OK ? EXIT_DONE : report_error(&error);
}

int stepping_step(stepping *stepping)
{
    hone_error error;
    hone_step_report report;
    if (stepping->schedule_ended)
        return report_failure("the learning rate's schedule has no value for another step; it "
                              "ended after %" PRId64 " of this run",
                              stepping->steps);
    if (hone_optimizer_step(stepping->optimizer, &report, &error) != HONE_OK)
        return report_error(&error);
    stepping->steps++;
    stepping->skipped += report.skipped;
    return report.stepped > 0 ? move_schedules(stepping) : EXIT_DONE;
}

void stepping_end(stepping *stepping)
{
    hone_optimizer_free(stepping->optimizer);
    for (int64_t i = 0; stepping->copies != NULL && i < hone_file_count(stepping->params); i++)
        free(stepping->copies[i]);
    free(stepping->copies);
    free(stepping->tensors);
    hone_mask_set_free(stepping->masks);
    hone_file_close(stepping->state);
    hone_file_close(stepping->grads);
    hone_file_close(stepping->params);
    hone_spec_free(stepping->spec);
    hone_context_free(stepping->context);
}
