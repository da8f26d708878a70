/* SPDX-License-Identifier: Apache-2.0 */
/* Trains a click model on a generated log: users, items and categories are rows of hash tables, a
 * small network joins them. Interrupt it, kill it, start it again: it goes on where its last
 * increment was written and ends with the same bits.
 *   recsys_train [--steps N] [--out DIRECTORY] [--every N] [--threads N] */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "saving.h"
#include "score.h"

typedef struct options {
    int64_t steps, every;
    int threads;
    const char *directory;
} options;

typedef struct counts {
    int64_t evicted, rows;
} counts;

static void require(hone_status status, const hone_error *error)
{
    if (status == HONE_OK)
        return;
    fprintf(stderr, "recsys: %s\n", error->message);
    exit(1);
}

static void count_eviction(int64_t key, const void *row, void *user)
{
    (void)key;
    (void)row;
    ((counts *)user)->evicted++;
}

/* The model: three tables, then the arrays of the network. */
enum { PARTS = LOG_FIELDS + PARAMETERS };

/* Users must be seen twice and share 12 MB; items go when they have not been met for long;
 * categories stay. */
static void make_tables(hone_model_parameter *parts, const hone_context *context, counts *c)
{
    static const char *const names[LOG_FIELDS] = {"users", "items", "categories"};
    static const char *const rules[LOG_FIELDS] = {"sparse_adamw", "rowwise_adagrad", "adamw"};
    static const double rates[LOG_FIELDS] = {0.01, 0.05, 0.01};
    hone_error error;
    for (int f = 0; f < LOG_FIELDS; f++) {
        hone_table_options o;
        hone_table_options_init(&o);
        o.width = WIDTH;
        o.rule = rules[f];
        o.initial = HONE_INITIAL_XAVIER_UNIFORM;
        o.initial_a = 0.3;
        o.evicted = count_eviction;
        o.evicted_user = c;
        if (f == LOG_USER) {
            o.admit_count = 2;
            o.max_bytes = (uint64_t)12 << 20;
        }
        parts[f] = (hone_model_parameter){.name = names[f]};
        require(hone_table_create(&parts[f].table, context, names[f], &o, &error), &error);
        require(hone_table_set(parts[f].table, "lr", rates[f], &error), &error);
    }
}

static void list_network(hone_model_parameter *parts, network *net, int64_t *lengths)
{
    for (int p = 0; p < PARAMETERS; p++) {
        float *const values = parameter_data(net, p, &lengths[p]);
        parts[p] =
            (hone_model_parameter){.name = parameter_names[p],
                                   .tensor = hone_tensor_view(values, HONE_F32, 1, &lengths[p]),
                                   .requires_grad = true};
    }
}

/* An optimizer for what of the model is dense; gradients lie where the parameters do in `grad`. */
static void make_optimizer(run *r, const hone_model *dense, network *grad)
{
    hone_error error;
    hone_spec *spec = NULL;
    hone_placement *placement = NULL;
    require(hone_spec_create(&spec, r->context, "adamw", &error), &error);
    require(hone_placement_create(&placement, r->context, spec, dense, 1, &error), &error);
    require(hone_optimizer_create_placed(&r->optimizer, placement, &error), &error);
    hone_placement_free(placement);
    hone_spec_free(spec);
    for (int p = 0; p < PARAMETERS; p++) {
        int64_t count;
        float *const slopes = parameter_data(grad, p, &count);
        const hone_tensor slope = hone_tensor_view(slopes, HONE_F32, 1, &count);
        require(hone_optimizer_set_grad(r->optimizer, p, &slope, &error), &error);
    }
}

static void make_model(run *r, network *grad, counts *c)
{
    hone_model_parameter parts[PARTS], dense[PARTS];
    int64_t lengths[PARAMETERS], tables, parameters;
    hone_table *sparse[PARTS];
    hone_error error;
    network_start(&r->net);
    make_tables(parts, r->context, c);
    list_network(parts + LOG_FIELDS, &r->net, lengths);
    const hone_model model = {NULL, parts, PARTS};
    require(hone_filter_out_sparse(&model, sparse, &tables, dense, &parameters, &error), &error);
    memcpy(r->tables, sparse, sizeof r->tables);
    make_optimizer(r, &(hone_model){NULL, dense, parameters}, grad);
}

static void read_events(batch *b, int64_t step)
{
    for (int i = 0; i < BATCH; i++) {
        const click event = click_log_event((uint64_t)step * BATCH + (uint64_t)i);
        for (int f = 0; f < LOG_FIELDS; f++)
            b->id[f][i] = event.id[f];
        b->clicked[i] = (float)event.clicked;
    }
}

/* One batch: look up, predict, learn. Returns the loss. */
static double train_step(run *r, batch *b, network *grad, hone_lookup *const *lookups, counts *c)
{
    static const int64_t shape[2] = {BATCH, WIDTH};
    hone_error error;
    read_events(b, r->step);
    for (int f = 0; f < LOG_FIELDS; f++) {
        const hone_tensor rows = hone_tensor_view(b->row[f], HONE_F32, 2, shape);
        require(hone_table_lookup(r->tables[f], lookups[f], b->id[f], BATCH, HONE_LOOKUP_TRAIN,
                                  &rows, &error),
                &error);
    }
    const double loss = network_learn(&r->net, b, grad);
    for (int f = 0; f < LOG_FIELDS; f++) {
        const hone_tensor rows = hone_tensor_view(b->row_grad[f], HONE_F32, 2, shape);
        hone_table_report report;
        require(hone_table_apply(r->tables[f], lookups[f], &rows, &report, &error), &error);
        c->rows += report.stepped;
    }
    require(hone_optimizer_step(r->optimizer, NULL, &error), &error);
    const hone_eviction old = {.unseen_lookups = 300};
    require(hone_table_evict(r->tables[LOG_ITEM], &old, BATCH, NULL, &error), &error);
    r->step++;
    return loss;
}

/* A number that differs if any bit of the model does. */
static uint64_t fingerprint(run *r)
{
    hone_error error;
    uint64_t sum = 0;
    const unsigned char *const bytes = (const unsigned char *)&r->net;
    for (size_t i = 0; i < sizeof r->net; i++)
        sum = click_log_mix(sum ^ bytes[i]);
    for (int f = 0; f < LOG_FIELDS; f++) {
        const int64_t n = hone_table_count(r->tables[f]);
        int64_t *const keys = malloc((size_t)(2 * n + 1) * sizeof *keys);
        uint32_t *const values = malloc((size_t)(n * WIDTH + 1) * sizeof *values);
        if (keys == NULL || values == NULL)
            require(HONE_ERROR_MEMORY, &(hone_error){.message = "out of memory"});
        const int64_t shape[2] = {n, WIDTH};
        const hone_tensor view = hone_tensor_view(values, HONE_F32, 2, shape);
        require(hone_table_keys(r->tables[f], keys, &error), &error);
        require(hone_table_find(r->tables[f], keys, n, keys + n, NULL, &error), &error);
        require(hone_table_gather(r->tables[f], keys + n, n, NULL, &view, &error), &error);
        for (int64_t i = 0; i < 2 * n; i++)
            sum = click_log_mix(sum ^ (uint64_t)keys[i]);
        for (int64_t i = 0; i < n * WIDTH; i++)
            sum = click_log_mix(sum ^ values[i]);
        free(keys);
        free(values);
    }
    return sum;
}

static void show(progress *bar, const run *r, const counts *c, score *s, double loss)
{
    if (!bar->terminal || r->step % 20 == 0 || r->step == bar->total)
        s->shown = score_auc(s); /* sorts, so not for every frame of the bar */
    char text[160];
    const double seconds = progress_seconds(bar);
    snprintf(text, sizeof text,
             "loss %.4f  AUC %.4f  %.2f M rows/s  rows %" PRId64 "+%" PRId64 "+%" PRId64
             "  evicted %" PRId64,
             loss, s->shown, (double)c->rows / seconds / 1e6, hone_table_count(r->tables[LOG_USER]),
             hone_table_count(r->tables[LOG_ITEM]), hone_table_count(r->tables[LOG_CATEGORY]),
             c->evicted);
    progress_show(bar, r->step, text);
}

static void resume(run *r, const options *o)
{
    hone_error error;
    hone_restore_report report;
    char inside[HONE_SNAPSHOT_PATH_SIZE];
    snprintf(inside, sizeof inside, "%s/.", o->directory);
    if ((mkdir(o->directory, 0777) != 0 && errno != EEXIST) ||
        access(inside, R_OK | W_OK | X_OK) != 0) {
        fprintf(stderr, "recsys: cannot save to '%s': %s\n", o->directory, strerror(errno));
        exit(1);
    }
    if (saving_resume(r, o->directory, &report, &error)) {
        fprintf(stderr, "resumed at step %" PRId64 " from '%s'\n", r->step, report.last);
        if (report.problem[0] != '\0')
            fprintf(stderr, "left aside: %s\n", report.problem);
    } else if (error.status != HONE_ERROR_IO || report.problem[0] != '\0') {
        require(error.status, &error); /* files that cannot be read are not to be written over */
    }
}

static void train(run *r, const options *o, network *grad, counts *c)
{
    static batch b;
    static score s;
    static saving saver;
    hone_lookup *lookups[LOG_FIELDS] = {NULL};
    hone_error error;
    progress bar;
    saver.directory = o->directory;
    for (int f = 0; f < LOG_FIELDS; f++)
        require(hone_lookup_create(&lookups[f], r->tables[f], &error), &error);
    bool begun = r->step > 0;
    progress_begin(&bar, r->step, o->steps);
    double loss = 0;
    while (r->step < o->steps) {
        loss = train_step(r, &b, grad, lookups, c);
        score_add(&s, b.chance, b.clicked, BATCH);
        if (o->every > 0 && (r->step % o->every == 0 || r->step == o->steps)) {
            const bool full = !begun || r->step % (o->every * 20) == 0;
            if (!saving_start(&saver, r, full ? HONE_SNAPSHOT_FULL : HONE_SNAPSHOT_INCREMENT,
                              &error))
                require(error.status, &error);
            begun = true;
        }
        if (bar.terminal || r->step * 10 / o->steps != bar.tenth)
            show(&bar, r, c, &s, loss);
    }
    if (!saving_wait(&saver, &error))
        require(error.status, &error);
    if (s.count == 0)
        fprintf(stderr, "all %" PRId64 " steps were done before\n", o->steps);
    else
        printf("steps %" PRId64 "  loss %.6f  AUC %.4f  rows %" PRId64 "  evicted %" PRId64 "\n",
               r->step, loss, score_auc(&s),
               hone_table_count(r->tables[LOG_USER]) + hone_table_count(r->tables[LOG_ITEM]) +
                   hone_table_count(r->tables[LOG_CATEGORY]),
               c->evicted);
    printf("model %016" PRIx64 "\n", fingerprint(r));
    for (int f = 0; f < LOG_FIELDS; f++)
        hone_lookup_free(lookups[f]);
}

static options read_options(int argc, char **argv)
{
    options o = {.steps = 2000, .every = 50, .directory = "recsys-run"};
    for (int i = 1; i < argc; i += 2) {
        const char *const value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--steps") == 0)
            o.steps = atoll(value);
        else if (strcmp(argv[i], "--every") == 0)
            o.every = atoll(value);
        else if (strcmp(argv[i], "--threads") == 0)
            o.threads = atoi(value);
        else if (strcmp(argv[i], "--out") == 0)
            o.directory = value;
        else
            o.steps = 0;
    }
    if (o.steps < 1 || o.directory[0] == '\0') {
        fprintf(stderr, "usage: %s [--steps N] [--out DIRECTORY] [--every N] [--threads N]\n",
                argv[0]);
        exit(2);
    }
    return o;
}

int main(int argc, char **argv)
{
    static run r;
    static network grad;
    counts c = {0};
    const options o = read_options(argc, argv);
    hone_context_options context;
    hone_context_options_init(&context);
    context.threads = o.threads;
    hone_error error;
    require(hone_context_create(&r.context, &context, &error), &error);
    make_model(&r, &grad, &c);
    resume(&r, &o);
    train(&r, &o, &grad, &c);
    hone_optimizer_free(r.optimizer);
    for (int f = 0; f < LOG_FIELDS; f++)
        hone_table_free(r.tables[f]);
    hone_context_free(r.context);
    return 0;
}
