/* SPDX-License-Identifier: Apache-2.0 */
/* hone step: steps the tensors of one file with the gradients of another. This file has the
 * command's outside: arguments, files in, files out. stepping.c has the inside. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hone/hone.h>
#include <hone/mask.h>

#include "command.h"
#include "options.h"
#include "output_pair.h"
#include "read_text.h"
#include "report.h"
#include "stepping.h"
#include "terminal/bar.h"
#include "terminal/text.h"

struct request {
    const char *spec, *params, *grads, *state, *params_out, *state_out, *steps_text;
    const char *masks, *masked_lr, *unmasked_lr;
    int64_t steps;
};

static int read_request(struct request *request, int argc, char **argv)
{
    const option options[] = {
        {.name = "spec", .value = &request->spec, .required = true},
        {.name = "params", .value = &request->params, .required = true},
        {.name = "grads", .value = &request->grads, .required = true},
        {.name = "state", .value = &request->state},
        {.name = "params-out", .value = &request->params_out, .required = true},
        {.name = "state-out", .value = &request->state_out, .required = true},
        {.name = "steps", .value = &request->steps_text},
        {.name = "masks", .value = &request->masks},
        {.name = "masked-lr", .value = &request->masked_lr},
        {.name = "unmasked-lr", .value = &request->unmasked_lr},
        {0}};
    option_list list = {.command = "step", .options = options};
    const int code = options_read(&list, argc, argv);
    request->steps = 1;
    if (code != 0 || request->steps_text == NULL)
        return code;
    return options_integer("step", "steps", request->steps_text, 1, &request->steps);
}

/* ---- in ------------------------------------------------------------------------------------- */

static int open_file(hone_file **file, const hone_context *context, const char *path)
{
    hone_error error;
    return hone_file_open(file, context, path, &error) == HONE_OK ? EXIT_DONE
                                                                  : report_error(&error);
}

/* A rate given on the command line holds for every group of the recipe. */
static int set_rate(hone_spec *spec, const char *option, const char *hyper, const char *text)
{
    char *end = NULL;
    const double rate = text == NULL ? 0 : strtod(text, &end);
    if (text == NULL)
        return EXIT_DONE;
    if (end == text || *end != '\0' || isnan(rate))
        return report_usage("step", "--%s \"%s\" is no number", option, text);
    for (int group = 0; group < hone_spec_group_count(spec); group++) {
        hone_error error;
        if (hone_spec_set(spec, group, hyper, rate, &error) != HONE_OK)
            return report_error(&error);
    }
    return EXIT_DONE;
}

static int set_rates(hone_spec *spec, const struct request *request)
{
    const int code = set_rate(spec, "masked-lr", "masked_lr", request->masked_lr);
    return code == EXIT_DONE ? set_rate(spec, "unmasked-lr", "lr", request->unmasked_lr) : code;
}

/* The file of the command line, or else the one that the recipe names. */
static int load_masks(stepping *stepping, const char *given, const char *masked_lr)
{
    const char *const path = given != NULL ? given : hone_spec_masks(stepping->spec);
    hone_error error;
    if (path == NULL)
        return masked_lr == NULL
                   ? EXIT_DONE
                   : report_usage("step", "--masked-lr is the rate under masks; there are none "
                                          "without --masks or \"masks\" in the recipe");
    return hone_mask_set_load(&stepping->masks, stepping->context, path, NULL, &error) == HONE_OK
               ? EXIT_DONE
               : report_error(&error);
}

static int load_inputs(stepping *stepping, const struct request *request)
{
    hone_error error;
    if (hone_context_create(&stepping->context, NULL, &error) != HONE_OK)
        return report_error(&error);
    int code = read_spec(&stepping->spec, stepping->context, request->spec);
    if (code == EXIT_DONE)
        code = set_rates(stepping->spec, request);
    if (code == EXIT_DONE)
        code = load_masks(stepping, request->masks, request->masked_lr);
    if (code == EXIT_DONE)
        code = open_file(&stepping->params, stepping->context, request->params);
    if (code == EXIT_DONE)
        code = open_file(&stepping->grads, stepping->context, request->grads);
    stepping->state_path = request->state;
    if (code == EXIT_DONE && request->state != NULL)
        code = open_file(&stepping->state, stepping->context, request->state);
    return code;
}

/* ---- out ------------------------------------------------------------------------------------ */

/* All tensors of the parameter file, stepped ones in their new state, and its metadata. */
static int write_params(const stepping *stepping, const output *to)
{
    const int64_t notes = hone_file_metadata_count(stepping->params);
    hone_file_pair *const pairs = text_allocate((size_t)notes * sizeof *pairs);
    for (int64_t i = 0; i < notes; i++) {
        pairs[i].key = hone_file_metadata_key(stepping->params, i);
        pairs[i].value = hone_file_metadata(stepping->params, pairs[i].key);
    }
    hone_error error;
    const hone_status status =
        hone_file_write(stepping->context, to->temporary, stepping->tensors,
                        hone_file_count(stepping->params), pairs, notes, &error);
    free(pairs);
    return status == HONE_OK ? EXIT_DONE : output_failed(to, &error);
}

static int write_state(const stepping *stepping, const output *to)
{
    hone_error error;
    return hone_optimizer_save(stepping->optimizer, to->temporary, &error) == HONE_OK
               ? EXIT_DONE
               : output_failed(to, &error);
}

static int write_outputs(const stepping *stepping, output *params, output *state)
{
    int code = write_params(stepping, params);
    if (code == EXIT_DONE)
        code = write_state(stepping, state);
    return code == EXIT_DONE ? output_commit(params, state) : code;
}

/* ---- the command ---------------------------------------------------------------------------- */

static void print_summary(const stepping *stepping, const struct request *request)
{
    if (stepping->skipped > 0)
        report_warning("%" PRId64 " of %" PRId64
                       " steps were skipped: the gradients' norm is not finite",
                       stepping->skipped, request->steps);
    if (stepping->schedule_ended)
        report_warning("the learning rate's schedule has ended; another run would repeat its last "
                       "value");
    if (isatty(STDERR_FILENO) == 1)
        fprintf(stderr, "stepped %" PRId64 " of %" PRId64 " tensors, %" PRId64 " time%s\n",
                hone_file_count(stepping->grads), hone_file_count(stepping->params),
                request->steps - stepping->skipped,
                request->steps - stepping->skipped == 1 ? "" : "s");
}

static int step_and_write(stepping *stepping, const struct request *request, output *params,
                          output *state)
{
    bar bar;
    bar_begin(&bar);
    stepping->bar = &bar;
    int code = load_inputs(stepping, request);
    if (code == EXIT_DONE)
        code = stepping_prepare(stepping);
    for (int64_t i = 0; i < request->steps && code == EXIT_DONE; i++) {
        bar_show(&bar, "steps", i, request->steps);
        code = stepping_step(stepping);
    }
    bar_show(&bar, "writing", 0, 0);
    if (code == EXIT_DONE)
        code = write_outputs(stepping, params, state);
    bar_end(&bar);
    stepping->bar = NULL;
    return code;
}

static int run_step(int argc, char **argv)
{
    struct request request = {0};
    int code = read_request(&request, argc, argv);
    if (code != 0)
        return code;
    output params = {0}, state = {0};
    stepping stepping = {0};
    code = output_begin(&params, request.params_out);
    if (code == EXIT_DONE)
        code = output_begin(&state, request.state_out);
    if (code == EXIT_DONE && output_same(&params, &state))
        code = report_usage("step", "--params-out and --state-out name the same file, \"%s\"",
                            request.params_out);
    if (code == EXIT_DONE)
        code = step_and_write(&stepping, &request, &params, &state);
    if (code == EXIT_DONE)
        print_summary(&stepping, &request);
    stepping_end(&stepping);
    output_end(&state);
    output_end(&params);
    return code;
}

const command command_step = {
    .name = "step",
    .summary = "Steps the tensors of a file with the gradients of another",
    .usage = "step --spec S.json --params P.safetensors --grads G.safetensors\n"
             "                 [--state IN.safetensors] --params-out P2.safetensors\n"
             "                 --state-out OUT.safetensors [--steps K] [--masks FILE]\n"
             "                 [--masked-lr X] [--unmasked-lr Y]",
    .help =
        "  --spec FILE        the recipe in JSON; \"-\" is standard input\n"
        "  --params FILE      the tensors to step\n"
        "  --grads FILE       their gradients, by name; a tensor without one is copied as it is\n"
        "  --state FILE       what an earlier run wrote with --state-out; without it states start\n"
        "                     anew. Values in the recipe win over those the state was made with\n"
        "  --params-out FILE  the tensors after the steps, with the metadata they came with\n"
        "  --state-out FILE   the optimizer's state: a checkpoint of hone\n"
        "  --steps K          steps with the same gradients; 1 if not given\n"
        "  --masks FILE       masks by name, as hone mask info shows them; instead of the file "
        "that\n"
        "                     the recipe names\n"
        "  --masked-lr X      the learning rate under a mask, for all groups\n"
        "  --unmasked-lr Y    the learning rate of everything else\n\n"
        "Tensors, gradients and states may be f32, f64, bf16 and f16 in any mix. Any output may\n"
        "be one of the inputs. A schedule in the recipe moves on after each step. Outputs are "
        "written beside their targets and renamed when both are\n"
        "whole: after an error every file is as it was.\n",
    .run = run_step,
};
