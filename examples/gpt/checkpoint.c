/* SPDX-License-Identifier: Apache-2.0 */
/* Writes and reads the two files of a checkpoint. hone writes each of them atomically; the rename
 * of their directory makes the pair atomic too. */
#define _POSIX_C_SOURCE 200809L

#include "checkpoint.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FACT_SIZE = 128, N_FACTS = 4 };

static const char parameters_name[] = "parameters.safetensors";
static const char optimizer_name[] = "optimizer.safetensors";

/* What the metadata of the parameters' file says about the run. */
typedef struct facts {
    char values[N_FACTS][FACT_SIZE];
    hone_file_pair pairs[N_FACTS];
} facts;

/* FNV-1a over both parts of the text: enough to notice that a file was edited. */
static uint64_t text_fingerprint(const corpus *text)
{
    const struct {
        const uint8_t *bytes;
        size_t size;
    } parts[] = {{text->train, text->train_size}, {text->held_out, text->held_out_size}};
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int part = 0; part < 2; part++)
        for (size_t i = 0; i < parts[part].size; i++)
            hash = (hash ^ parts[part].bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void collect_facts(facts *all, const checkpoint_run *run, int64_t step)
{
    static const char *const keys[N_FACTS] = {"sizes", "seed", "text", "step"};
    const gpt_config *config = run->config;
    snprintf(all->values[0], FACT_SIZE,
             "layers %d, heads %d, width %d, context %d, vocabulary %d, batch %d", config->layers,
             config->heads, config->width, config->context, config->vocabulary, config->batch);
    snprintf(all->values[1], FACT_SIZE, "%" PRIu64, run->seed);
    snprintf(all->values[2], FACT_SIZE, "%zu bytes of fingerprint %016" PRIx64,
             run->text->train_size + run->text->held_out_size, text_fingerprint(run->text));
    snprintf(all->values[3], FACT_SIZE, "%" PRId64, step);
    for (int i = 0; i < N_FACTS; i++)
        all->pairs[i] = (hone_file_pair){keys[i], all->values[i]};
}

int checkpoint_path(char path[PATH_SIZE], const char *out, int64_t step)
{
    char name[32];
    snprintf(name, sizeof name, "step-%06" PRId64, step);
    return path_join(path, out, name);
}

/* ---- saving --------------------------------------------------------------------------------- */

static int write_parameters(const checkpoint_run *run, const char *directory, int64_t step)
{
    char path[PATH_SIZE];
    if (path_join(path, directory, parameters_name) != 0)
        return -1;
    const int count = run->weights->count;
    hone_file_entry *entries = malloc((size_t)count * sizeof *entries);
    if (entries == NULL)
        return failure("no memory to save %d tensors", count);
    for (int i = 0; i < count; i++)
        entries[i] = (hone_file_entry){gpt_tensor_at(run->weights->model, i)->name,
                                       weights_view(run->weights, i)};
    facts all;
    collect_facts(&all, run, step);
    hone_error error;
    const hone_status status =
        hone_file_write(run->context, path, entries, count, all.pairs, N_FACTS, &error);
    free(entries);
    return status == HONE_OK ? 0 : failure("%s", error.message);
}

static int write_optimizer(const checkpoint_run *run, const char *directory)
{
    char path[PATH_SIZE];
    hone_error error;
    if (path_join(path, directory, optimizer_name) != 0)
        return -1;
    if (hone_optimizer_save(run->optimizer, path, &error) != HONE_OK)
        return failure("%s", error.message);
    return 0;
}

/* Removes a checkpoint of the same step that an earlier run left. */
static void remove_checkpoint(const char *directory)
{
    const char *const names[] = {parameters_name, optimizer_name};
    char path[PATH_SIZE];
    for (int i = 0; i < 2; i++)
        if (path_join(path, directory, names[i]) == 0)
            unlink(path);
    rmdir(directory);
}

static int sync_directory(const char *path)
{
    const int handle = open(path, O_RDONLY | O_DIRECTORY);
    const int result = handle >= 0 ? fsync(handle) : -1;
    const int reason = errno;
    if (handle >= 0)
        close(handle);
    return result == 0 ? 0 : failure("cannot sync '%s': %s", path, strerror(reason));
}

/* Puts the filled directory in its place. */
static int publish(const char *partial, const char *path, const char *out)
{
    if (sync_directory(partial) != 0)
        return -1;
    int result = rename(partial, path);
    if (result != 0 && (errno == ENOTEMPTY || errno == EEXIST)) {
        remove_checkpoint(path);
        result = rename(partial, path);
    }
    if (result != 0)
        return failure("cannot rename '%s' to '%s': %s", partial, path, strerror(errno));
    return sync_directory(out);
}

int checkpoint_save(const checkpoint_run *run, const char *out, int64_t step)
{
    char path[PATH_SIZE];
    char partial[PATH_SIZE];
    if (checkpoint_path(path, out, step) != 0 || path_join(partial, out, "partial") != 0 ||
        make_directories(partial) != 0)
        return -1;
    if (write_parameters(run, partial, step) != 0 || write_optimizer(run, partial) != 0)
        return -1;
    return publish(partial, path, out);
}

/* ---- loading -------------------------------------------------------------------------------- */

static int check_facts(const checkpoint_run *run, const hone_file *file, const char *path,
                       int64_t *step)
{
    const char *const text = hone_file_metadata(file, "step");
    char *end = NULL;
    *step = text != NULL ? strtoll(text, &end, 10) : -1;
    if (*step < 0 || end == text || *end != '\0')
        return failure("'%s' does not say after which step it was saved", path);
    facts all;
    collect_facts(&all, run, *step);
    for (int i = 0; i < N_FACTS; i++) {
        const char *const found = hone_file_metadata(file, all.pairs[i].key);
        if (found == NULL || strcmp(found, all.pairs[i].value) != 0)
            return failure("'%s' was saved by a run with another %s (%s) than this one (%s)", path,
                           all.pairs[i].key, found != NULL ? found : "none named",
                           all.pairs[i].value);
    }
    return 0;
}

/* The tensor of the file that has the name, type and shape of the model's. */
static int find_parameter(const hone_file *file, const char *path, const char *name,
                          const hone_tensor *wanted, hone_tensor *found)
{
    const int64_t index = hone_file_find(file, name);
    if (index < 0)
        return failure("'%s' has no tensor '%s'", path, name);
    hone_error error;
    if (hone_file_tensor(file, index, found, &error) != HONE_OK)
        return failure("%s", error.message);
    int same = found->dtype == wanted->dtype && found->ndim == wanted->ndim;
    for (int i = 0; same && i < wanted->ndim; i++)
        same = found->shape[i] == wanted->shape[i];
    return same ? 0
                : failure("tensor '%s' of '%s' has another type or shape than the model's", name,
                          path);
}

static int copy_parameters(const checkpoint_run *run, const hone_file *file, const char *path)
{
    for (int i = 0; i < run->weights->count; i++) {
        const hone_tensor own = weights_view(run->weights, i);
        hone_tensor saved;
        if (find_parameter(file, path, gpt_tensor_at(run->weights->model, i)->name, &own, &saved) !=
            0)
            return -1;
        const size_t size = (size_t)hone_tensor_numel(&own) * hone_dtype_size(own.dtype);
        memcpy(own.data, saved.data, size);
    }
    weights_publish(run->weights);
    return 0;
}

static int load_parameters(const checkpoint_run *run, const char *directory, int64_t *step)
{
    char path[PATH_SIZE];
    hone_file *file;
    hone_error error;
    if (path_join(path, directory, parameters_name) != 0)
        return -1;
    if (hone_file_open(&file, run->context, path, &error) != HONE_OK)
        return failure("%s", error.message);
    int result = check_facts(run, file, path, step);
    if (result == 0)
        result = copy_parameters(run, file, path);
    hone_file_close(file);
    return result;
}

int checkpoint_load(const checkpoint_run *run, const char *path, int64_t *step)
{
    char optimizer_path[PATH_SIZE];
    hone_error error;
    if (load_parameters(run, path, step) != 0 ||
        path_join(optimizer_path, path, optimizer_name) != 0)
        return -1;
    if (hone_optimizer_load(run->optimizer, optimizer_path, &error) != HONE_OK)
        return failure("%s", error.message);
    uint64_t count = 0;
    if (hone_optimizer_step_count(run->optimizer, 0, &count, &error) != HONE_OK)
        return failure("%s", error.message);
    if (count != (uint64_t)*step)
        return failure("the files of '%s' do not belong together: the parameters are those after "
                       "step %" PRId64 ", the optimizer counted %" PRIu64,
                       path, *step, count);
    return 0;
}
