/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints that must be refused, and that a refusal, wherever it comes from, changes nothing. */
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include "checkpoint_subject.h"

static hone_context *context;
static char folder[64];
static char path[128];

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/hone-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/checkpoint", folder);
    return hone_context_create(&context, NULL, NULL);
}

static int teardown(void **state)
{
    (void)state;
    hone_context_free(context);
    return rmdir(folder);
}

static void must(hone_status status, const hone_error *error)
{
    if (status != HONE_OK)
        fail_msg("%s", error->message);
}

static int files_in_folder(void)
{
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    int count = -2; /* . and .. */
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static const char recipe[] =
    "{\"optimizer_type\":\"adamw\",\"learning_rate\":0.05,"
    "\"groups\":[{\"match\":\"*.bias\",\"optimizer_type\":\"sgd\",\"momentum\":0.9}]}";

/* An optimizer after three steps. */
static void make(struct subject *subject, const hone_context *with)
{
    subject_create_json(subject, with, recipe, NULL);
    for (int step = 1; step <= 3; step++)
        subject_step(subject, step);
}

static void expect_refusal(struct subject *subject, const hone_file *file, hone_status status,
                           const char *words)
{
    hone_error error = {.offset = -1};
    const uint64_t before = subject_hash(subject);
    const hone_status found = hone_optimizer_load_file(subject->optimizer, file, &error);
    if (found != status || strstr(error.message, words) == NULL)
        fail_msg("%s was expected about '%s', but got %s: %s", hone_status_name(status), words,
                 hone_status_name(found), found == HONE_OK ? "" : error.message);
    assert_int_equal(hone_optimizer_load_file(subject->optimizer, file, NULL), status);
    assert_true(subject_hash(subject) == before);
}

/* ---- a checkpoint, changed in one place ----------------------------------------------------- */

struct edit {
    const char *find, *replace; /* in the metadata; NULL: nothing */
};

/* Writes the subject's checkpoint with the metadata edited, one tensor left out (its name, or NULL)
 * and one put in its place or added (NULL: none). */
static void write_edited(const struct subject *subject, struct edit edit, const char *without,
                         const hone_file_entry *with)
{
    hone_error error;
    must(hone_optimizer_save(subject->optimizer, path, &error), &error);
    hone_file *file = NULL;
    must(hone_file_open(&file, context, path, &error), &error);
    char json[4000];
    const char *old = hone_file_metadata(file, "hone");
    const char *at = edit.find == NULL ? old : strstr(old, edit.find);
    if (at == NULL)
        fail_msg("the metadata has no %s: %s", edit.find, old);
    snprintf(json, sizeof(json), "%.*s%s%s", (int)(at - old), old,
             edit.find == NULL ? "" : edit.replace,
             edit.find == NULL ? old : at + strlen(edit.find));
    hone_file_entry entries[32];
    int64_t count = 0;
    for (int64_t i = 0; i < hone_file_count(file); i++) {
        entries[count].name = hone_file_name(file, i);
        must(hone_file_tensor(file, i, &entries[count].tensor, &error), &error);
        count += without == NULL || strcmp(entries[count].name, without) != 0;
    }
    if (with != NULL)
        entries[count++] = *with;
    const hone_file_pair pair = {"hone", json};
    must(hone_file_write(context, path, entries, count, &pair, 1, &error), &error);
    hone_file_close(file);
}

static void expect_refusal_of_edit(struct subject *subject, struct edit edit, const char *without,
                                   const hone_file_entry *with, hone_status status,
                                   const char *words)
{
    hone_error error;
    hone_file *file = NULL;
    write_edited(subject, edit, without, with);
    must(hone_file_open(&file, context, path, &error), &error);
    expect_refusal(subject, file, status, words);
    hone_file_close(file);
    assert_int_equal(unlink(path), 0);
}

static const struct {
    struct edit edit;
    hone_status status;
    const char *words;
} bad_metadata[] = {
    {{"{\"format\"", "x{\"format\""}, HONE_ERROR_FORMAT, "metadata is not valid JSON"},
    {{"\"format\":1", "\"format\":1,\"format\":1"}, HONE_ERROR_FORMAT, "duplicate"},
    {{"\"format\":1,", ""}, HONE_ERROR_FORMAT, "format is nothing"},
    {{"\"format\":1", "\"format\":2"}, HONE_ERROR_FORMAT, "format is 2; this version reads"},
    {{"\"format\":1", "\"format\":\"1\""}, HONE_ERROR_FORMAT, "format is '1'"},
    {{"\"format\":1", "\"format\":1.0"}, HONE_ERROR_FORMAT, "format is 1;"},
    {{"\"format\":1", "\"format\":1,\"mask\":{}"}, HONE_ERROR_FORMAT, "the key 'mask' is unknown"},
    {{"\"params\"", "\"parameters\""}, HONE_ERROR_FORMAT, "the key 'parameters' is unknown"},
    {{",\"params\":{\"", ",\"params\":[],\"version\":{\""}, HONE_ERROR_FORMAT, "duplicate"},
    {{"\"spec\":{", "\"spec\":null,\"params\":{"}, HONE_ERROR_FORMAT, "duplicate"},
    {{"\"optimizer_type\":\"adamw\"", "\"optimizer_type\":\"adamx\""},
     HONE_ERROR_SPEC,
     "the checkpoint's spec: "},
    {{"\"learning_rate\":0.05", "\"learning_rate\":-1"}, HONE_ERROR_SPEC, "learning_rate"},
    {{"\"layer.weight\":{", "\"layer.weight\":7,\"x\":{"},
     HONE_ERROR_FORMAT,
     "'layer.weight' in the checkpoint: its entry is an integer"},
    {{"\"group\":0,", ""}, HONE_ERROR_FORMAT, "its group is nothing; allowed is an integer from 0"},
    {{"\"group\":0", "\"group\":2"}, HONE_ERROR_FORMAT, "its group is 2"},
    {{"\"group\":0", "\"group\":-1"}, HONE_ERROR_FORMAT, "its group is -1"},
    {{"\"group\":0", "\"group\":4294967296"}, HONE_ERROR_FORMAT, "its group is 4294967296"},
    {{"\"step\":3", "\"step\":-3"}, HONE_ERROR_FORMAT, "its step is -3"},
    {{"\"step\":3", "\"step\":3.5"}, HONE_ERROR_FORMAT, "its step is 3.5"},
    {{"\"step\":3", "\"step\":null"}, HONE_ERROR_FORMAT, "its step is null"},
    {{"\"step\":3", "\"step\":9223372036854775808"}, HONE_ERROR_FORMAT, "not valid JSON"},
    {{"\"step\":3", "\"steps\":3"}, HONE_ERROR_FORMAT, "the key 'steps' is unknown"},
    {{"\"step\":3", "\"step\":3,\"lr_multiplier\":-1"}, HONE_ERROR_FORMAT, "lr_multiplier is -1"},
    {{"\"step\":3", "\"step\":3,\"lr_multiplier\":null"},
     HONE_ERROR_FORMAT,
     "lr_multiplier is null"},
    {{"\"dtype\":\"F32\"", "\"dtype\":\"f32\""}, HONE_ERROR_FORMAT, "its dtype is 'f32'"},
    {{"\"dtype\":\"F32\"", "\"dtype\":32"}, HONE_ERROR_FORMAT, "its dtype is 32"},
    {{"\"shape\":[37,1]", "\"shape\":37"}, HONE_ERROR_FORMAT, "its shape is 37"},
    {{"\"shape\":[37,1]", "\"shape\":[37,-1]"}, HONE_ERROR_FORMAT, "its shape is -1"},
    {{"\"shape\":[37,1]", "\"shape\":[37,1.5]"}, HONE_ERROR_FORMAT, "its shape is 1.5"},
    {{"\"slots\":[\"exp_avg\"", "\"slots\":[\"exp_average\""},
     HONE_ERROR_FORMAT,
     "its slots hold 'exp_average', which rule adamw does not have"},
    {{"\"slots\":[\"exp_avg\"", "\"slots\":[7"}, HONE_ERROR_FORMAT, "its slots hold 7"},
    {{"\"slots\":[]", "\"slots\":{}"}, HONE_ERROR_FORMAT, "its slots is an object"},
    {{"\"params\"", "\"micro_step\":1,\"params\""}, HONE_ERROR_FORMAT, "micro_step is 1; allowed"},
    {{"\"params\"", "\"skipped\":-1,\"params\""}, HONE_ERROR_FORMAT, "skipped is -1"},
    {{"\"params\"", "\"scaler\":7,\"params\""}, HONE_ERROR_FORMAT, "scaler is an integer"},
    {{"\"params\"", "\"scaler\":{\"scale\":0},\"params\""}, HONE_ERROR_RANGE, "loss scale is 0"},
    {{"\"params\"", "\"scaler\":{\"scale\":\"8\"},\"params\""},
     HONE_ERROR_FORMAT,
     "its scale is '8', not a number"},
    {{"\"params\"", "\"scaler\":{\"x\":0},\"params\""},
     HONE_ERROR_FORMAT,
     "scaler: the key 'x' is unknown"},
    {{"\"slots\":[]", "\"slots\":[\"accumulated_grad\"]"},
     HONE_ERROR_FORMAT,
     "'late' in the checkpoint: its slots hold 'accumulated_grad', but micro_step is 0"},
    {{"\"params\"", "\"schedules\":[null],\"params\""},
     HONE_ERROR_FORMAT,
     "schedules hold 1 entries; its spec needs 0"},
    /* well formed, but another optimizer's */
    {{"\"shape\":[37,1]", "\"shape\":[1,37]"},
     HONE_ERROR_MISMATCH,
     "'layer.weight' was F32 [1,37], but is F32 [37,1]"},
    {{"\"shape\":[37,1]", "\"shape\":[37]"}, HONE_ERROR_MISMATCH, "was F32 [37], but"},
    {{"\"dtype\":\"F32\"", "\"dtype\":\"BF16\""},
     HONE_ERROR_MISMATCH,
     "was BF16 [37,1], but is F32"},
    {{"\"optimizer_type\":\"adamw\"", "\"optimizer_type\":\"adam\""},
     HONE_ERROR_MISMATCH,
     "'layer.weight' was stepped by adam, but its group has adamw"},
    {{"\"layer.weight\":{", "\"layer.height\":{"},
     HONE_ERROR_MISMATCH,
     "in 6 places: parameter 'layer.height' is unexpected; tensor 'layer.height@exp_avg' is "
     "missing"},
    {{"\"slots\":[\"exp_avg\",", "\"slots\":["},
     HONE_ERROR_MISMATCH,
     "in 1 place: tensor 'layer.weight@exp_avg' is unexpected"},
    {{"\"slots\":[]", "\"slots\":[\"exp_avg\"]"},
     HONE_ERROR_MISMATCH,
     "in 1 place: tensor 'late@exp_avg' is missing"},
};

static void refuses_bad_metadata(void **state)
{
    (void)state;
    static struct subject subject;
    make(&subject, context);
    for (int i = 0; i < LENGTH(bad_metadata); i++)
        expect_refusal_of_edit(&subject, bad_metadata[i].edit, NULL, NULL, bad_metadata[i].status,
                               bad_metadata[i].words);
    write_edited(&subject, (struct edit){NULL, NULL}, NULL, NULL); /* the way itself is sound */
    must(hone_optimizer_load(subject.optimizer, path, NULL), NULL);
    assert_int_equal(unlink(path), 0);
    subject_free(&subject);
}

static void refuses_bad_tensors(void **state)
{
    (void)state;
    static struct subject subject;
    static double room[37 * 2];
    const int64_t right[] = {37, 1}, turned[] = {1, 37};
    const char *name = "layer.weight@exp_avg_sq";
    const struct edit none = {NULL, NULL};
    make(&subject, context);
    expect_refusal_of_edit(&subject, none, name, NULL, HONE_ERROR_MISMATCH,
                           "in 1 place: tensor 'layer.weight@exp_avg_sq' is missing");
    const hone_file_entry extra = {"stranger", hone_tensor_view(room, HONE_I8, 2, right)};
    expect_refusal_of_edit(&subject, none, NULL, &extra, HONE_ERROR_MISMATCH,
                           "in 1 place: tensor 'stranger' is unexpected");
    const hone_file_entry odd = {name, hone_tensor_view(room, HONE_F32, 2, turned)};
    expect_refusal_of_edit(&subject, none, name, &odd, HONE_ERROR_MISMATCH,
                           "'layer.weight@exp_avg_sq' has the shape [1,37], but [37,1] is needed");
    const hone_file_entry flat = {name, hone_tensor_view(room, HONE_F32, 1, right)};
    expect_refusal_of_edit(&subject, none, name, &flat, HONE_ERROR_MISMATCH,
                           "has the shape [37], but [37,1] is needed");
    const hone_dtype dtypes[] = {HONE_I32, HONE_C64, HONE_U8};
    for (int i = 0; i < LENGTH(dtypes); i++) {
        char words[80];
        snprintf(words, sizeof(words), "'layer.weight@exp_avg_sq' is %s, but F32, F64, BF16 or F16",
                 hone_dtype_name(dtypes[i]));
        const hone_file_entry entry = {name, hone_tensor_view(room, dtypes[i], 2, right)};
        expect_refusal_of_edit(&subject, none, name, &entry, HONE_ERROR_MISMATCH, words);
    }
    /* Any of the four state types is taken as it is. */
    const hone_file_entry wide = {name, hone_tensor_view(room, HONE_F64, 2, right)};
    write_edited(&subject, none, name, &wide);
    must(hone_optimizer_load(subject.optimizer, path, NULL), NULL);
    hone_tensor view;
    must(hone_optimizer_state(subject.optimizer, 0, "exp_avg_sq", &view, NULL), NULL);
    assert_int_equal(view.dtype, HONE_F64);
    assert_int_equal(unlink(path), 0);
    subject_step(&subject, 4);
    subject_free(&subject);
}

static void refuses_bad_schedules(void **state)
{
    (void)state;
    static struct subject subject;
    static const struct {
        struct edit edit;
        const char *words;
    } cases[] = {
        {{"\"schedules\":[{", "\"schedules\":[null,{"},
         "schedules hold 2 entries; its spec needs 1"},
        {{"\"schedules\":[{", "\"schedules\":[7],\"x\":[{"}, "the key 'x' is unknown"},
        {{"{\"e\":1", "{\"e\":-1"}, "e is -1; allowed is an integer from 0"},
        {{"{\"e\":1", "{\"f\":1"}, "the checkpoint's schedules: the key 'f' is unknown"},
        {{"\"base\":0.5", "\"base\":-0.5"}, "base is missing, or a base is below 0"},
        {{"\"base\":0.5", "\"base\":null"}, "base is missing, or a base is below 0"},
        {{"\"masked_base\":null", "\"masked_base\":-1"}, "base is missing, or a base is below 0"},
        {{"\"best\":null", "\"best\":true"}, "its best is a boolean, not a number"},
        {{"\"best\":null", "\"masked\":{}"},
         "an object as masked for a group whose masked_lr has no"},
        {{"{\"e\":1", "{\"e\":10"}, "one_cycle ends at step 9; there is no value for step 10"},
    };
    subject_create_json(&subject, context,
                        "{\"optimizer_type\":\"sgd\",\"learning_rate\":0.5,\"schedule\":"
                        "{\"type\":\"one_cycle\",\"max_lr\":1,\"total_steps\":10,"
                        "\"cycle_momentum\":false}}",
                        NULL);
    assert_int_equal(hone_optimizer_schedule_step(subject.optimizer, NULL), HONE_OK);
    for (int i = 0; i < LENGTH(cases); i++)
        expect_refusal_of_edit(&subject, cases[i].edit, NULL, NULL, HONE_ERROR_FORMAT,
                               cases[i].words);
    subject_free(&subject);
}

static void refuses_bad_masked_schedules(void **state)
{
    (void)state;
    static struct subject subject;
    static const struct {
        struct edit edit;
        const char *words;
    } cases[] = {
        {{"\"schedules\":[{", "\"schedules\":[null],\"x\":[{"}, "the key 'x' is unknown"},
        {{"{\"masked\":{", "{\"e\":1,\"masked\":{"}, "the key 'e' is unknown"},
        {{"{\"masked\":{", "{\"masked\":null,\"e\":{"}, "the key 'e' is unknown"},
        {{"{\"e\":1", "{\"e\":11"}, "one_cycle ends at step 9; there is no value for step 11"},
        {{"\"base\":0.25", "\"base\":null"}, "base is missing, or a base is below 0"},
        {{"\"base\":0.25", "\"masked_base\":1"}, "the key 'masked_base' is unknown"},
    };
    subject_create_json(&subject, context,
                        "{\"optimizer_type\":\"sgd\",\"masked_lr\":0.25,\"masked_schedule\":"
                        "{\"type\":\"one_cycle\",\"max_lr\":1,\"total_steps\":10,"
                        "\"cycle_momentum\":false}}",
                        NULL);
    assert_int_equal(hone_optimizer_schedule_step(subject.optimizer, NULL), HONE_OK);
    for (int i = 0; i < LENGTH(cases); i++)
        expect_refusal_of_edit(&subject, cases[i].edit, NULL, NULL, HONE_ERROR_FORMAT,
                               cases[i].words);
    subject_free(&subject);
}

/* What the frame keeps beside a parameter has one type: kernels read it as it is. */
static void refuses_frame_states_of_another_type(void **state)
{
    (void)state;
    static const struct {
        const char *precision, *name;
        hone_dtype own, other;
    } cases[] = {
        {"master", "layer.weight@master", HONE_F32, HONE_BF16},
        {"kahan", "layer.weight@compensation", HONE_BF16, HONE_F32},
        {"plain", "layer.weight@accumulated_grad", HONE_F32, HONE_BF16},
    };
    static double room[37];
    const int64_t shape[] = {37, 1};
    for (int i = 0; i < LENGTH(cases); i++) {
        static struct subject subject;
        char json[120], words[120];
        snprintf(json, sizeof(json),
                 "{\"optimizer_type\":\"adamw\",\"precision\":\"%s\",\"grad_accum_steps\":2}",
                 cases[i].precision);
        hone_spec *spec = parse_spec(context, json);
        subject_create(&subject, context, spec, HONE_BF16, NULL);
        hone_spec_free(spec);
        for (int step = 1; step <= 3; step++)
            subject_step(&subject, step);
        snprintf(words, sizeof(words), "in 1 place: tensor '%s' is %s, but %s is needed",
                 cases[i].name, hone_dtype_name(cases[i].other), hone_dtype_name(cases[i].own));
        const hone_file_entry entry = {cases[i].name,
                                       hone_tensor_view(room, cases[i].other, 2, shape)};
        expect_refusal_of_edit(&subject, (struct edit){NULL, NULL}, cases[i].name, &entry,
                               HONE_ERROR_MISMATCH, words);
        subject_free(&subject);
    }
}

/* ---- everything in one message -------------------------------------------------------------- */

static void lists_all_that_does_not_fit(void **state)
{
    (void)state;
    static struct subject saved;
    hone_error error;
    make(&saved, context);
    must(hone_optimizer_save(saved.optimizer, path, &error), &error);

    static float weight[37], other[4];
    const int64_t turned[] = {1, 37}, four[] = {4};
    const hone_tensor tensors[] = {hone_tensor_view(weight, HONE_F32, 2, turned),
                                   hone_tensor_view(other, HONE_F32, 1, four)};
    hone_optimizer *optimizer = NULL;
    hone_spec *spec = parse_spec(context, "{\"optimizer_type\":\"adamw\"}");
    must(hone_optimizer_create(&optimizer, context, spec, &error), &error);
    hone_spec_free(spec);
    must(hone_optimizer_add(optimizer, "layer.weight", &tensors[0], 0, NULL, &error), &error);
    must(hone_optimizer_add(optimizer, "new", &tensors[1], 0, NULL, &error), &error);
    assert_int_equal(hone_optimizer_load(optimizer, path, &error), HONE_ERROR_MISMATCH);
    static const char *const phrases[] = {
        "/checkpoint': the checkpoint does not fit the optimizer in 7 places: ",
        "parameter 'layer.weight' was F32 [37,1], but is F32 [1,37]; ",
        "tensor 'layer.weight@exp_avg' has the shape [37,1], but [1,37] is needed; ",
        "tensor 'layer.weight@exp_avg_sq' has the shape [37,1], but [1,37] is needed; ",
        "parameter 'layer.bias' is unexpected; ",
        "parameter 'empty' is unexpected; ",
        "parameter 'late' is unexpected; ",
        "parameter 'new' is missing",
    };
    for (int i = 0; i < LENGTH(phrases); i++)
        if (strstr(error.message, phrases[i]) == NULL)
            fail_msg("'%s' is not in: %s", phrases[i], error.message);
    hone_optimizer_free(optimizer);
    subject_free(&saved);
    assert_int_equal(unlink(path), 0);
}

/* A list too long for a message is cut, with a count of the rest. */
static void counts_what_it_cannot_list(void **state)
{
    (void)state;
    static float values[500];
    const int64_t one = 1;
    hone_error error;
    hone_optimizer *many = NULL, *none = NULL;
    hone_spec *spec = parse_spec(context, "{\"optimizer_type\":\"sgd\"}");
    must(hone_optimizer_create(&many, context, spec, &error), &error);
    must(hone_optimizer_create(&none, context, spec, &error), &error);
    hone_spec_free(spec);
    must(hone_optimizer_save(none, path, &error), &error);
    for (int i = 0; i < LENGTH(values); i++) {
        char name[2000];
        memset(name, 'x', sizeof(name));
        snprintf(name + sizeof(name) - 8, 8, "%u", (unsigned)i % 1000);
        const hone_tensor tensor = hone_tensor_view(&values[i], HONE_F32, 1, &one);
        must(hone_optimizer_add(many, i % 2 == 0 ? name : name + sizeof(name) - 10, &tensor, 0,
                                NULL, &error),
             &error);
    }
    assert_int_equal(hone_optimizer_load(many, path, &error), HONE_ERROR_MISMATCH);
    assert_non_null(strstr(error.message, "in 500 places: parameter 'xxx"));
    const char *rest = strstr(error.message, "; and ");
    assert_non_null(rest);
    int listed = 0, more = 0;
    for (const char *at = error.message; (at = strstr(at, " is missing")) != NULL; at++)
        listed++;
    assert_int_equal(sscanf(rest, "; and %d more", &more), 1);
    assert_true(listed >= 4);
    assert_int_equal(listed + more, 500);
    hone_optimizer_free(many);
    hone_optimizer_free(none);
    assert_int_equal(unlink(path), 0);
}

/* ---- files ---------------------------------------------------------------------------------- */

static void refuses_other_files(void **state)
{
    (void)state;
    static struct subject subject;
    hone_error error;
    make(&subject, context);
    const uint64_t before = subject_hash(&subject);
    assert_int_equal(hone_optimizer_load(subject.optimizer, path, &error), HONE_ERROR_IO);
    assert_non_null(strstr(error.message, "No such file"));
    const hone_file_pair pair = {"format", "pt"};
    must(hone_file_write(context, path, NULL, 0, &pair, 1, &error), &error);
    assert_int_equal(hone_optimizer_load(subject.optimizer, path, &error), HONE_ERROR_FORMAT);
    assert_non_null(strstr(error.message, "/checkpoint': the file is not a checkpoint of hone"));
    assert_int_equal(hone_optimizer_load(NULL, path, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_optimizer_load(subject.optimizer, NULL, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_optimizer_load_file(subject.optimizer, NULL, &error),
                     HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_optimizer_save(NULL, path, &error), HONE_ERROR_ARGUMENT);
    assert_int_equal(hone_optimizer_save(subject.optimizer, NULL, &error), HONE_ERROR_ARGUMENT);
    assert_true(subject_hash(&subject) == before);
    subject_free(&subject);
    assert_int_equal(unlink(path), 0);
}

/* Cut anywhere, a checkpoint is refused and the optimizer goes on as if nothing had happened. */
static void refuses_every_truncation(void **state)
{
    (void)state;
    static struct subject subject;
    hone_error error;
    make(&subject, context);
    must(hone_optimizer_save(subject.optimizer, path, &error), &error);
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    static unsigned char bytes[16384];
    const size_t size = fread(bytes, 1, sizeof(bytes), stream);
    fclose(stream);
    assert_true(size > 1000 && size < sizeof(bytes));
    const uint64_t before = subject_hash(&subject);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(truncate(path, (off_t)(size - 1 - cut)), 0);
        assert_int_equal(hone_optimizer_load(subject.optimizer, path, &error), HONE_ERROR_FORMAT);
    }
    assert_true(subject_hash(&subject) == before);
    subject_free(&subject);
    assert_int_equal(unlink(path), 0);
}

static double seven(uint64_t completed_calls, void *user)
{
    (void)completed_calls;
    (void)user;
    return 7;
}

static void a_callback_cannot_be_saved(void **state)
{
    (void)state;
    static struct subject subject;
    hone_error error;
    subject_create_json(&subject, context, "{\"optimizer_type\":\"adopt\"}", NULL);
    must(
        hone_optimizer_set_curve_callback(subject.optimizer, 0, "clip_lambda", seven, NULL, &error),
        &error);
    assert_int_equal(hone_optimizer_save(subject.optimizer, path, &error), HONE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "clip_lambda"));
    assert_int_equal(files_in_folder(), 0);
    must(hone_optimizer_set_curve_callback(subject.optimizer, 0, "clip_lambda", NULL, NULL, &error),
         &error);
    must(hone_optimizer_save(subject.optimizer, path, &error), &error);
    subject_free(&subject);
    assert_int_equal(unlink(path), 0);
}

static void a_name_must_be_utf8(void **state)
{
    (void)state;
    hone_error error;
    hone_optimizer *optimizer = NULL;
    hone_spec *spec = parse_spec(context, "{\"optimizer_type\":\"sgd\"}");
    must(hone_optimizer_create(&optimizer, context, spec, &error), &error);
    hone_spec_free(spec);
    const int64_t none = 0;
    const hone_tensor tensor = hone_tensor_view(NULL, HONE_F32, 1, &none);
    if (hone_optimizer_add(optimizer, "w\xff", &tensor, 0, NULL, &error) == HONE_OK) {
        assert_int_equal(hone_optimizer_save(optimizer, path, &error), HONE_ERROR_NAME);
        assert_non_null(strstr(error.message, "'w?'"));
    }
    assert_int_equal(files_in_folder(), 0);
    hone_optimizer_free(optimizer);
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Fails every k-th allocation of a save, alone or with all after it; returns how many there are. */
static int fail_saves(struct subject *subject, struct failing_memory *memory)
{
    const uint64_t before = subject_hash(subject);
    const int live = memory->live;
    for (int failures = 0;; failures++) {
        hone_error error;
        memory->allowed = failures;
        const hone_status status = hone_optimizer_save(subject->optimizer, path, &error);
        memory->allowed = 1 << 30;
        assert_int_equal(memory->live, live);
        assert_true(subject_hash(subject) == before);
        assert_int_equal(files_in_folder(), status == HONE_OK);
        if (status == HONE_OK)
            return failures;
        assert_int_equal(status, HONE_ERROR_MEMORY);
    }
}

static void saving_survives_failing_allocations(void **state)
{
    (void)state;
    static struct subject subject;
    for (int only_one = 0; only_one < 2; only_one++) {
        struct failing_memory memory = {.only_one = only_one};
        hone_context *failing = failing_context(&memory);
        make(&subject, failing);
        assert_true(fail_saves(&subject, &memory) >= 6);
        subject_free(&subject);
        hone_context_free(failing);
        assert_int_equal(memory.live, 0);
        assert_int_equal(unlink(path), 0);
    }
}

static int fail_loads(struct subject *subject, struct failing_memory *memory)
{
    const uint64_t before = subject_hash(subject);
    const int live = memory->live;
    for (int failures = 0;; failures++) {
        hone_error error;
        memory->allowed = failures;
        const hone_status status = hone_optimizer_load(subject->optimizer, path, &error);
        memory->allowed = 1 << 30;
        if (status == HONE_OK)
            return failures;
        assert_int_equal(status, HONE_ERROR_MEMORY);
        assert_true(subject_hash(subject) == before);
        assert_int_equal(memory->live, live);
    }
}

/* The checkpoint brings states of other types, new ones, and drops others. */
static void loading_survives_failing_allocations(void **state)
{
    (void)state;
    static struct subject saved, subject;
    hone_error error;
    for (int only_one = 0; only_one < 2; only_one++) {
        struct failing_memory memory = {.only_one = only_one};
        subject_create_json(&saved, context,
                            "{\"optimizer_type\":\"adamw\",\"state_dtype\":\"f64\",\"groups\":"
                            "[{\"match\":\"*.bias\",\"optimizer_type\":\"sgd\",\"momentum\":0.5}]}",
                            NULL);
        saved.late = 1;
        subject_step(&saved, 1);
        must(hone_optimizer_save(saved.optimizer, path, &error), &error);
        hone_context *failing = failing_context(&memory);
        make(&subject, failing);
        subject_copy_values(&subject, &saved);
        subject.late = saved.late;
        assert_true(fail_loads(&subject, &memory) >= 12);
        assert_true(subject_hash(&subject) == subject_hash(&saved));
        subject_step(&subject, 2);
        subject_step(&saved, 2);
        assert_true(subject_hash(&subject) == subject_hash(&saved));
        subject_free(&subject);
        subject_free(&saved);
        hone_context_free(failing);
        assert_int_equal(memory.live, 0);
        assert_int_equal(unlink(path), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_bad_metadata),
        cmocka_unit_test(refuses_bad_tensors),
        cmocka_unit_test(refuses_bad_schedules),
        cmocka_unit_test(refuses_bad_masked_schedules),
        cmocka_unit_test(refuses_frame_states_of_another_type),
        cmocka_unit_test(lists_all_that_does_not_fit),
        cmocka_unit_test(counts_what_it_cannot_list),
        cmocka_unit_test(refuses_other_files),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(a_callback_cannot_be_saved),
        cmocka_unit_test(a_name_must_be_utf8),
        cmocka_unit_test(saving_survives_failing_allocations),
        cmocka_unit_test(loading_survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
