/* SPDX-License-Identifier: Apache-2.0 */
/* Muon beside AdamW in one optimizer, over three epochs of a MuonSpec with decay and multipliers:
 * against the float64 oracle, and against torch.optim.Muon and torch.optim.AdamW
 * (torch/hybrid.safetensors, which torch/README.md describes). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hone/placement.h>

#include "oracle/oracle.h"
#include "oracle/oracle_muon.h"
#include "oracle/oracle_schedule.h"
#include "support/checks.h"

enum { PARAMS = 6, EPOCHS = 3, STEPS = 4, CALLS = EPOCHS * STEPS, MOST = 24 };

/* The recipe once more, in the oracle's terms: what the file's spec has to mean. */
static const struct subject {
    const char *name;
    int32_t ndim;
    int64_t shape[2];
    bool muon;
    double multiplier;
} subjects[PARAMS] = {
    {"transformer.0.weight", 2, {6, 4}, true, 1}, /* a matrix keeps its rate */
    {"transformer.0.bias", 1, {6, 1}, false, 0.5},
    {"transformer.1.weight", 2, {4, 6}, true, 1},
    {"embed.weight", 2, {5, 4}, false, 1},
    {"head.weight", 2, {3, 4}, false, 5},
    {"head.bias", 1, {3, 1}, false, 5},
};

static size_t count_of(const struct subject *subject)
{
    return (size_t)(subject->shape[0] * subject->shape[1]);
}

static const double *load(const hone_file *file, const char *name, const char *tensor)
{
    char full[96];
    snprintf(full, sizeof full, "%s/%s", name, tensor);
    hone_tensor view;
    OK(hone_file_tensor(file, hone_file_find(file, full), &view, &problem));
    assert_int_equal(view.dtype, HONE_F64);
    return view.data;
}

/* One parameter's whole run by the oracle; `rates` are the group's, per call. */
static void run_oracle(const struct subject *subject, const double *grads, const double *rates,
                       double *param)
{
    const size_t n = count_of(subject);
    double buffer[MOST] = {0};
    oracle_state *const state = oracle_state_create(n, param);
    for (int call = 0; call < CALLS; call++) {
        const double *const grad = grads + (size_t)call * n;
        if (subject->muon) {
            oracle_muon_options options = oracle_muon_default_options();
            options.lr = rates[call];
            options.momentum = 0.9;
            oracle_muon_step(&options, (size_t)subject->shape[0], (size_t)subject->shape[1], param,
                             buffer, grad, NULL);
            continue;
        }
        oracle_options options = oracle_default_options("adamw");
        options.lr = rates[call] * subject->multiplier;
        options.beta1 = 0.8;
        options.beta2 = 0.95;
        options.weight_decay = 0.05;
        oracle_step("adamw", &options, state, grad, NULL);
        memcpy(param, state->param, sizeof *param * n);
    }
    oracle_state_free(state);
}

static void expect_near(const char *name, const double *found, const double *wanted, size_t n,
                        double relative)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(found[i] - wanted[i]) <= relative * (1e-3 + fabs(wanted[i]))))
            fail_msg("%s[%zu]: %.17g, not %.17g", name, i, found[i], wanted[i]);
}

/* PyTorch rounds Muon's products to bfloat16: the movement agrees to 3e-2 of its size. */
static void expect_movement(const char *name, const double *start, const double *found,
                            const double *wanted, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += (found[i] - wanted[i]) * (found[i] - wanted[i]);
        size += (wanted[i] - start[i]) * (wanted[i] - start[i]);
    }
    if (!(sqrt(difference / size) <= 3e-2))
        fail_msg("%s: %g of its movement away", name, sqrt(difference / size));
}

/* Makes the optimizer of a recipe, runs all calls, and leaves the values in `params`. */
static void run_hone(const hone_context *context, const hone_spec *spec, const double *const *grads,
                     double (*params)[MOST])
{
    hone_model_parameter list[PARAMS];
    for (int i = 0; i < PARAMS; i++)
        list[i] = (hone_model_parameter){
            subjects[i].name,
            hone_tensor_view(params[i], HONE_F64, subjects[i].ndim, subjects[i].shape), true, NULL};
    const hone_model model = {NULL, list, PARAMS};
    hone_placement *placement = NULL;
    hone_optimizer *optimizer = NULL;
    OK(hone_placement_create(&placement, context, spec, &model, 1, &problem));
    OK(hone_optimizer_create_placed(&optimizer, placement, &problem));
    hone_placement_free(placement);
    for (size_t call = 0; call < CALLS; call++) {
        for (int i = 0; i < PARAMS; i++) {
            const size_t first = call * count_of(&subjects[i]);
            const hone_tensor grad =
                hone_tensor_view((void *)(uintptr_t)(grads[i] + first), HONE_F64, subjects[i].ndim,
                                 subjects[i].shape);
            OK(hone_optimizer_set_grad(optimizer, i, &grad, &problem));
        }
        OK(hone_optimizer_step(optimizer, NULL, &problem));
        OK(hone_optimizer_schedule_step(optimizer, &problem));
        if (call % STEPS == STEPS - 1)
            OK(hone_optimizer_schedule_epoch(optimizer, &problem));
    }
    hone_optimizer_free(optimizer);
}

struct fixture {
    hone_context *context;
    hone_file *file;
    hone_spec *spec;
    const double *start[PARAMS], *grads[PARAMS], *torch[PARAMS];
    double found[PARAMS][MOST];
};

static void set_up(struct fixture *f)
{
    f->context = test_context(1, NULL);
    OK(hone_file_open(&f->file, f->context,
                      HONE_SOURCE_DIR "/tests/golden/torch/hybrid.safetensors", &problem));
    const char *const text = hone_file_metadata(f->file, "spec");
    OK(hone_spec_parse(&f->spec, f->context, text, strlen(text), &problem));
    for (int i = 0; i < PARAMS; i++) {
        f->start[i] = load(f->file, subjects[i].name, "start");
        f->grads[i] = load(f->file, subjects[i].name, "grad");
        f->torch[i] = load(f->file, subjects[i].name, "param");
        memcpy(f->found[i], f->start[i], sizeof(double) * count_of(&subjects[i]));
    }
}

static void tear_down(struct fixture *f)
{
    hone_spec_free(f->spec);
    hone_file_close(f->file);
    hone_context_free(f->context);
}

/* Against the oracle with the rates `muon` and `adamw` of each call. */
static void expect_oracle(const struct fixture *f, const double *muon, const double *adamw)
{
    for (int i = 0; i < PARAMS; i++) {
        double wanted[MOST];
        memcpy(wanted, f->start[i], sizeof(double) * count_of(&subjects[i]));
        run_oracle(&subjects[i], f->grads[i], subjects[i].muon ? muon : adamw, wanted);
        /* the products' sums differ in order; element rules agree to the last digits */
        expect_near(subjects[i].name, f->found[i], wanted, count_of(&subjects[i]),
                    subjects[i].muon ? 1e-10 : 1e-13);
    }
}

static void test_decay_of_both(void **state)
{
    (void)state;
    struct fixture f;
    double muon[CALLS], adamw[CALLS];
    set_up(&f);
    run_hone(f.context, f.spec, f.grads, f.found);
    for (uint64_t call = 0; call < CALLS; call++) {
        muon[call] = oracle_exponential_lr(0.02, 0.9, call / STEPS);
        adamw[call] = oracle_exponential_lr(0.003, 0.9, call / STEPS);
    }
    expect_oracle(&f, muon, adamw);
    for (int i = 0; i < PARAMS; i++) {
        const size_t n = count_of(&subjects[i]);
        const double *const last = f.torch[i] + (CALLS - 1) * n;
        if (subjects[i].muon)
            expect_movement(subjects[i].name, f.start[i], f.found[i], last, n);
        else
            expect_near(subjects[i].name, f.found[i], last, n, 1e-12);
    }
    tear_down(&f);
}

/* The same recipe, but each rate has a schedule of its own, one counted in steps and one in epochs. */
static void test_two_schedules(void **state)
{
    (void)state;
    static const char json[] =
        "{\"learning_rate\": 0.02, \"momentum\": 0.9, \"adamw_lr\": 0.003, \"weight_decay\": 0.05, "
        "\"betas\": [0.8, 0.95], \"lr_multipliers\": {\"head\": 5, \"transformer.0\": 0.5}, "
        "\"schedule\": {\"type\": \"cosine_annealing\", \"T_max\": 7, \"eta_min\": 0.001}, "
        "\"adamw_schedule\": {\"type\": \"linear\", \"start_factor\": 0.25, \"end_factor\": 1, "
        "\"total_iters\": 2, \"per\": \"epoch\"}}";
    struct fixture f;
    double muon[CALLS], adamw[CALLS];
    set_up(&f);
    hone_spec_free(f.spec);
    OK(hone_spec_from_serialized(&f.spec, f.context, "muon", json, sizeof json - 1, &problem));
    run_hone(f.context, f.spec, f.grads, f.found);
    for (uint64_t call = 0; call < CALLS; call++) {
        muon[call] = oracle_cosine_annealing_lr(0.02, 7, 0.001, call);
        adamw[call] = oracle_linear_lr(0.003, 0.25, 1, 2, call / STEPS);
    }
    expect_oracle(&f, muon, adamw);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decay_of_both),
        cmocka_unit_test(test_two_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
