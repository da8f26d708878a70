/* SPDX-License-Identifier: Apache-2.0 */
/* Every mask file that PyTorch wrote, against what masks.json says of it; hone's own files, there
 * and back; dense safetensors; the limit on memory; and what is no mask file. */
#include <math.h>

#include <unistd.h>

#include <jansson.h>

#include "unit/mask_model.h"

#define MASKS HONE_SOURCE_DIR "/tests/golden/masks/"

/* ---- files of torch ------------------------------------------------------------------------- */

static json_t *golden;

static int setup_golden(void **state)
{
    json_error_t error;
    golden = json_load_file(MASKS "masks.json", 0, &error);
    return golden == NULL ? -1 : setup(state);
}

static int teardown_golden(void **state)
{
    json_decref(golden);
    return teardown(state);
}

static struct model model_of(const json_t *about)
{
    const json_t *const shape = json_object_get(about, "shape");
    const json_t *const trues = json_object_get(about, "true");
    int64_t lengths[4];
    for (size_t d = 0; d < json_array_size(shape); d++)
        lengths[d] = json_integer_value(json_array_get(shape, d));
    struct model model = model_start((int32_t)json_array_size(shape), lengths);
    for (size_t i = 0; i < json_array_size(trues); i++)
        model.values[json_integer_value(json_array_get(trues, i))] = 1;
    return model;
}

static hone_mask_form form_of(const char *layout, const char *file)
{
    if (strcmp(layout, "dense") == 0)
        return HONE_MASK_DENSE;
    if (strcmp(layout, "compact") == 0)
        return HONE_MASK_COMPACT;
    return strstr(file, "bool") != NULL ? HONE_MASK_COO_BOOL : HONE_MASK_COO_F32;
}

static void assert_summary(const hone_mask_summary *summary, const hone_mask *mask)
{
    assert_non_null(summary);
    assert_int_equal(summary->active_count, hone_mask_count(mask));
    assert_int_equal(summary->total_count, hone_mask_numel(mask));
    assert_true(summary->density == hone_mask_density(mask));
    assert_true(summary->sparsity == 1 - hone_mask_density(mask));
}

static void assert_set_is(const hone_mask_set *set, const json_t *file)
{
    json_t *const masks = json_object_get(file, "masks");
    const char *name;
    json_t *about;
    int64_t index = 0;
    assert_int_equal(hone_mask_set_count(set), json_object_size(masks));
    json_object_foreach(masks, name, about)
    {
        struct model model = model_of(about);
        const hone_mask *const mask = hone_mask_set_mask(set, index);
        assert_string_equal(hone_mask_set_name(set, index), name);
        assert_int_equal(hone_mask_set_find(set, name), index);
        assert_mask_is(mask, &model);
        if (json_is_true(json_object_get(file, "summary")))
            assert_summary(hone_mask_set_summary(set, index), mask);
        else
            assert_null(hone_mask_set_summary(set, index));
        free(model.values);
        index++;
    }
}

static void load_golden(const json_t *file)
{
    const char *const name = json_string_value(json_object_get(file, "file"));
    char path[512];
    snprintf(path, sizeof path, MASKS "%s", name);
    hone_mask_set *set = NULL;
    hone_error error = {.message = ""};
    const hone_status status = hone_mask_set_load(&set, context, path, NULL, &error);
    if (!json_is_true(json_object_get(file, "loads"))) {
        assert_int_equal(status, HONE_ERROR_FORMAT);
        assert_null(set);
        return;
    }
    if (status != HONE_OK)
        fail_msg("%s", error.message);
    assert_set_is(set, file);
    const char *const key = json_string_value(json_object_get(file, "key"));
    if (key == NULL)
        assert_null(hone_mask_set_key(set));
    else
        assert_string_equal(hone_mask_set_key(set), key);
    const char *const layout = json_string_value(json_object_get(file, "layout"));
    for (int64_t i = 0; strcmp(layout, "mixed") != 0 && i < hone_mask_set_count(set); i++)
        assert_int_equal(hone_mask_set_form(set, i), form_of(layout, name));
    hone_mask_set_free(set);
}

static void every_file_of_torch(void **state)
{
    (void)state;
    const json_t *const files = json_object_get(golden, "files");
    assert_true(json_array_size(files) >= 14);
    for (size_t i = 0; i < json_array_size(files); i++)
        load_golden(json_array_get(files, i));
}

/* The same masks as the first torch with zip archives wrote them, one in between, and
 * a late one. */
static void files_of_old_versions(void **state)
{
    (void)state;
    static const char *const versions[] = {"1.6.0", "1.13.1", "2.11.0"};
    static const hone_mask_form forms[] = {HONE_MASK_DENSE,   HONE_MASK_DENSE,    HONE_MASK_DENSE,
                                           HONE_MASK_COO_F32, HONE_MASK_COO_BOOL, HONE_MASK_COMPACT,
                                           HONE_MASK_COMPACT};
    struct model model = model_start(2, (int64_t[]){4, 5});
    for (int64_t i = 0; i < model.numel; i += 3)
        model.values[i] = 1;
    for (int v = 0; v < LENGTH(versions); v++) {
        char path[512];
        snprintf(path, sizeof path, MASKS "old/torch_%s.pt", versions[v]);
        hone_mask_set *set = NULL;
        hone_error error = {.message = ""};
        if (hone_mask_set_load(&set, context, path, NULL, &error) != HONE_OK)
            fail_msg("%s", error.message);
        assert_int_equal(hone_mask_set_count(set), LENGTH(forms));
        for (int i = 0; i < LENGTH(forms); i++) {
            assert_mask_is(hone_mask_set_mask(set, i), &model);
            assert_int_equal(hone_mask_set_form(set, i), forms[i]);
            assert_int_equal(hone_mask_set_summary(set, i)->active_count, 7);
        }
        hone_mask_set_free(set);
    }
    free(model.values);
}

static void mixed_layouts_are_told_apart(void **state)
{
    (void)state;
    hone_mask_set *set = NULL;
    assert_int_equal(hone_mask_set_load(&set, context, MASKS "mixed.pt", NULL, NULL), HONE_OK);
    static const struct {
        const char *name;
        hone_mask_form form;
    } expected[] = {{"embed.weight", HONE_MASK_COO_F32},
                    {"head.bias", HONE_MASK_DENSE},
                    {"conv.weight", HONE_MASK_COMPACT},
                    {"full.weight", HONE_MASK_COO_BOOL}};
    for (int i = 0; i < LENGTH(expected); i++)
        assert_int_equal(hone_mask_set_form(set, hone_mask_set_find(set, expected[i].name)),
                         expected[i].form);
    hone_mask_set_free(set);
}

static void numbers_beside_the_masks(void **state)
{
    (void)state;
    hone_mask_set *set = NULL;
    assert_int_equal(hone_mask_set_load(&set, context, MASKS "dense_bool.pt", NULL, NULL), HONE_OK);
    assert_int_equal(hone_mask_set_note_count(set), 1);
    assert_string_equal(hone_mask_set_note_value(set, "kl_divergence"), "0.03125");
    hone_mask_set_free(set);
}

#define assert_load_refused(path, options, status, sentence)                              \
    do {                                                                                  \
        hone_mask_set *set_ = NULL;                                                       \
        assert_refused(hone_mask_set_load(&set_, context, path, options, &error), status, \
                       "'" path "': " sentence);                                          \
        assert_null(set_);                                                                \
    } while (0)

static void files_that_are_refused(void **state)
{
    (void)state;
    assert_load_refused(MASKS "legacy_stream.pt", NULL, HONE_ERROR_FORMAT,
                        "the file is in the stream format of torch before 1.6; load it with torch "
                        "and save it again to get a zip archive");
    assert_load_refused(
        MASKS "unknown_global.pt", NULL, HONE_ERROR_FORMAT,
        "the pickle, byte 195: the file names fractions.Fraction; allowed: tensors, "
        "torch.Size, dtypes and collections.OrderedDict");
    assert_load_refused(
        MASKS "summary_only.json", NULL, HONE_ERROR_FORMAT,
        "the file is JSON, which can hold a summary of masks but no masks; they are "
        "in the .pt or .safetensors file beside it");
    assert_load_refused(
        HONE_SOURCE_DIR "/CMakeLists.txt", NULL, HONE_ERROR_FORMAT,
        "the file begins with neither a zip archive nor a safetensors header; masks "
        "are read from PyTorch's .pt and from safetensors files");
    assert_load_refused(HONE_SOURCE_DIR "/tests/golden/torch/adamw.safetensors", NULL,
                        HONE_ERROR_DTYPE,
                        "mask 'f64/theta0': the tensor is F64; a file without the metadata "
                        "'hone_masks' holds masks as BOOL or U8");
    hone_mask_set *set = NULL;
    assert_refused(hone_mask_set_load(&set, context, "/nowhere/masks.pt", NULL, &error),
                   HONE_ERROR_IO, "cannot open '/nowhere/masks.pt': No such file or directory");
}

/* ---- the limit ------------------------------------------------------------------------------ */

static void the_limit_is_kept(void **state)
{
    (void)state;
    hone_mask_load_options options;
    hone_mask_load_options_init(&options);
    options.memory_limit = 4096;
    assert_load_refused(MASKS "compact_int32.pt", &options, HONE_ERROR_MEMORY,
                        "out of memory for the values of a pickle: 4096 bytes are taken; the limit "
                        "is 4096");
    hone_mask_set *set = NULL;
    bool enough = false;
    for (options.memory_limit = 64; !enough; options.memory_limit += 64) {
        assert_true(options.memory_limit < 1 << 20);
        const hone_status status =
            hone_mask_set_load(&set, context, MASKS "dense_views.pt", &options, NULL);
        enough = status == HONE_OK;
        assert_true(enough || (status == HONE_ERROR_MEMORY && set == NULL));
    }
    assert_int_equal(hone_mask_set_count(set), 4);
    hone_mask_set_free(set);
    options.memory_limit = -1;
    assert_load_refused(MASKS "bare.pt", &options, HONE_ERROR_RANGE,
                        "options->memory_limit is -1; it must be 0 (the default) or more");
    options.struct_size = 0;
    assert_load_refused(MASKS "bare.pt", &options, HONE_ERROR_ARGUMENT,
                        "options->struct_size is 0; hone_mask_load_options_init sets it to 16");
}

/* ---- hone's own files ----------------------------------------------------------------------- */

static char scratch[] = "/tmp/hone_test_masks_XXXXXX";

static hone_mask_set *random_set(void)
{
    hone_mask_set *set = NULL;
    assert_int_equal(hone_mask_set_create(&set, context, NULL), HONE_OK);
    for (int number = 0; number < MODEL_CASES; number++) {
        struct model model = model_case(number);
        hone_mask *mask = mask_of(&model);
        char name[64];
        snprintf(name, sizeof name, "layer.%d.\"\xc3\xa9\"\n", MODEL_CASES - number);
        assert_int_equal(hone_mask_set_add(set, name, mask, NULL), HONE_OK);
        hone_mask_free(mask);
        free(model.values);
    }
    assert_int_equal(hone_mask_set_note(set, "kl_divergence", "0.5", NULL), HONE_OK);
    assert_int_equal(hone_mask_set_note(set, "\"made\"", "here\n", NULL), HONE_OK);
    return set;
}

static void own_files_there_and_back(void **state)
{
    (void)state;
    hone_mask_set *set = random_set(), *back = NULL;
    hone_error error = {.message = ""};
    if (hone_mask_set_save(set, scratch, &error) != HONE_OK ||
        hone_mask_set_load(&back, context, scratch, NULL, &error) != HONE_OK)
        fail_msg("%s", error.message);
    assert_int_equal(hone_mask_set_count(back), hone_mask_set_count(set));
    bool seen[HONE_MASK_FORM_COUNT] = {false};
    for (int64_t i = 0; i < hone_mask_set_count(set); i++) {
        assert_string_equal(hone_mask_set_name(back, i), hone_mask_set_name(set, i));
        assert_true(hone_mask_equal(hone_mask_set_mask(back, i), hone_mask_set_mask(set, i)));
        seen[hone_mask_set_form(back, i)] = true;
    }
    assert_true(seen[HONE_MASK_BITMAP] && seen[HONE_MASK_COMPACT]);
    assert_int_equal(hone_mask_set_note_count(back), 2);
    assert_string_equal(hone_mask_set_note_value(back, "kl_divergence"), "0.5");
    assert_string_equal(hone_mask_set_note_value(back, "\"made\""), "here\n");
    hone_mask_set_free(back);
    hone_mask_set_free(set);
}

static void an_empty_set_there_and_back(void **state)
{
    (void)state;
    hone_mask_set *set = NULL, *back = NULL;
    assert_int_equal(hone_mask_set_create(&set, context, NULL), HONE_OK);
    assert_int_equal(hone_mask_set_save(set, scratch, NULL), HONE_OK);
    assert_int_equal(hone_mask_set_load(&back, context, scratch, NULL, NULL), HONE_OK);
    assert_int_equal(hone_mask_set_count(back), 0);
    hone_mask_set_free(back);
    hone_mask_set_free(set);
}

/* 5 % of a large mask takes the bitmap's size, 1 % that of its positions. */
static void the_smaller_form_is_written(void **state)
{
    (void)state;
    static const struct {
        int64_t every, bytes;
    } cases[] = {{20, 100000 / 8}, {100, 4 * 1000}};
    for (int c = 0; c < LENGTH(cases); c++) {
        struct model model = model_start(1, (int64_t[]){100000});
        for (int64_t i = 0; i < model.numel; i += cases[c].every)
            model.values[i] = 1;
        hone_mask *mask = mask_of(&model);
        hone_mask_set *set = NULL;
        assert_int_equal(hone_mask_set_create(&set, context, NULL), HONE_OK);
        assert_int_equal(hone_mask_set_add(set, "w", mask, NULL), HONE_OK);
        assert_int_equal(hone_mask_set_save(set, scratch, NULL), HONE_OK);
        hone_file *file = NULL;
        hone_tensor tensor;
        assert_int_equal(hone_file_open(&file, context, scratch, NULL), HONE_OK);
        assert_int_equal(hone_file_tensor(file, 0, &tensor, NULL), HONE_OK);
        assert_int_equal(hone_tensor_numel(&tensor) * 4, cases[c].bytes);
        hone_file_close(file);
        hone_mask_set_free(set);
        hone_mask_free(mask);
        free(model.values);
    }
}

/* ---- other safetensors ---------------------------------------------------------------------- */

/* A file in memory: a header and the bytes 0, 1, 2, ... */
static hone_status read_header(hone_mask_set **set, const char *header, size_t data_size,
                               hone_error *error)
{
    const uint64_t length = strlen(header);
    const size_t size = 8 + (size_t)length + data_size;
    unsigned char *bytes = malloc(size);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, (size_t)length);
    for (size_t i = 0; i < data_size; i++)
        bytes[8 + length + i] = (unsigned char)i;
    const hone_status status = hone_mask_set_read(set, context, bytes, size, NULL, error);
    free(bytes);
    return status;
}

static void dense_safetensors(void **state)
{
    (void)state;
    hone_mask_set *set = NULL;
    assert_int_equal(read_header(&set,
                                 "{\"a\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[0,4]},"
                                 "\"b\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[4,5]}}",
                                 5, NULL),
                     HONE_OK);
    assert_int_equal(hone_mask_set_count(set), 2);
    assert_int_equal(hone_mask_words(hone_mask_set_mask(set, 0))[0], 0xe);
    assert_int_equal(hone_mask_ndim(hone_mask_set_mask(set, 1)), 0);
    assert_int_equal(hone_mask_count(hone_mask_set_mask(set, 1)), 1);
    assert_int_equal(hone_mask_set_form(set, 0), HONE_MASK_DENSE);
    hone_mask_set_free(set);
}

/* The data are bytes counting upwards: as U32 0x03020100, 0x07060504; as I32 the same. */
static void own_files_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *metadata, *tensors;
        size_t size;
        hone_status status;
        const char *sentence;
    } cases[] = {
        {"{\\\"version\\\":2,\\\"masks\\\":{}}", "", 0, HONE_ERROR_FORMAT,
         "the metadata 'hone_masks' must have the 'version' 1 and 'masks'"},
        {"[", "", 0, HONE_ERROR_FORMAT,
         "the metadata 'hone_masks': top level: the text ends inside a value; allowed: complete "
         "JSON"},
        {"{\\\"version\\\":1,\\\"masks\\\":{\\\"w\\\":{}}}", "", 0, HONE_ERROR_FORMAT,
         "the file has 0 tensors; its metadata speaks of 1 masks"},
        {"{\\\"version\\\":1,\\\"masks\\\":{\\\"w\\\":{}}}",
         ",\"v\":{\"dtype\":\"U32\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, HONE_ERROR_FORMAT,
         "mask 'w': the metadata speaks of it, but the file has no such tensor"},
        {"{\\\"version\\\":1,\\\"masks\\\":{\\\"w\\\":{\\\"shape\\\":[1.5]}}}",
         ",\"w\":{\"dtype\":\"U32\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, HONE_ERROR_FORMAT,
         "mask 'w': its 'shape' in the metadata must be a list of at most 64 whole numbers"},
        {"{\\\"version\\\":1,\\\"masks\\\":{\\\"w\\\":{\\\"shape\\\":[32],\\\"true\\\":3}}}",
         ",\"w\":{\"dtype\":\"U32\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, HONE_ERROR_FORMAT,
         "mask 'w': 4 different elements are true; its 'true' in the metadata and the length of "
         "its "
         "positions must say so"},
        {"{\\\"version\\\":1,\\\"masks\\\":{\\\"w\\\":{\\\"shape\\\":[20],\\\"true\\\":4}}}",
         ",\"w\":{\"dtype\":\"U32\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, HONE_ERROR_RANGE,
         "mask 'w': words: the last one is 0x03020100; bits beyond the last element must be 0, and "
         "it holds 20 elements"},
        {"{\\\"version\\\":1,\\\"masks\\\":{\\\"w\\\":{\\\"shape\\\":[20],\\\"true\\\":1}}}",
         ",\"w\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, HONE_ERROR_RANGE,
         "mask 'w': positions: number 0 is 50462976; a mask of shape [20] has the positions from 0 "
         "to below 20"},
        {"{\\\"version\\\":1,\\\"masks\\\":{\\\"w\\\":{\\\"shape\\\":[99999999],\\\"true\\\":2}}}",
         ",\"w\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, HONE_ERROR_FORMAT,
         "mask 'w': 1 different elements are true; its 'true' in the metadata and the length of "
         "its "
         "positions must say so"},
        {"{\\\"version\\\":1,\\\"masks\\\":{\\\"w\\\":{\\\"shape\\\":[4000000,4000000],"
         "\\\"true\\\":2}}}",
         ",\"w\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]}", 4, HONE_ERROR_MEMORY,
         "mask 'w': its shape [4000000,4000000] needs more memory than the limit of 1073743208 "
         "bytes "
         "leaves, of which 0 are taken (hone_mask_load_options.memory_limit)"},
    };
    for (int c = 0; c < LENGTH(cases); c++) {
        char header[512];
        snprintf(header, sizeof header, "{\"__metadata__\":{\"hone_masks\":\"%s\"}%s}",
                 cases[c].metadata, cases[c].tensors);
        hone_mask_set *set = NULL;
        assert_refused(read_header(&set, header, cases[c].size, &error), cases[c].status,
                       cases[c].sentence);
        assert_null(set);
    }
}

/* ---- allocation ----------------------------------------------------------------------------- */

struct meter {
    int64_t left; /* allocations that still succeed */
    int64_t live; /* bytes given out */
};

static void *metered_allocate(size_t size, size_t alignment, void *user)
{
    struct meter *const meter = user;
    void *memory = NULL;
    if (meter->left-- <= 0 || posix_memalign(&memory, alignment, size) != 0)
        return NULL;
    meter->live += (int64_t)size;
    return memory;
}

static void metered_release(void *memory, size_t size, void *user)
{
    ((struct meter *)user)->live -= (int64_t)size;
    free(memory);
}

/* Every allocation fails once: the call says so, gives nothing back, and keeps nothing. */
static void fail_each_allocation(const char *path)
{
    for (int64_t successes = 0;; successes++) {
        struct meter meter = {.left = INT64_MAX};
        hone_context_options options;
        hone_context_options_init(&options);
        options.allocator = (hone_allocator){metered_allocate, metered_release, &meter};
        hone_context *metered = NULL;
        assert_int_equal(hone_context_create(&metered, &options, NULL), HONE_OK);
        meter.left = successes;
        hone_mask_set *set = NULL;
        hone_status status = hone_mask_set_load(&set, metered, path, NULL, NULL);
        if (status == HONE_OK) {
            status = hone_mask_set_save(set, scratch, NULL);
            hone_mask_set_free(set);
        } else {
            assert_null(set);
        }
        hone_context_free(metered);
        assert_int_equal(meter.live, 0);
        if (status == HONE_OK)
            return;
        assert_int_equal(status, HONE_ERROR_MEMORY);
        assert_true(successes < 10000);
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    fail_each_allocation(MASKS "dense_bool.pt");
    fail_each_allocation(MASKS "mixed.pt");
    assert_int_equal(hone_mask_set_save(NULL, scratch, NULL), HONE_ERROR_ARGUMENT);
    char copy[] = "/tmp/hone_test_masks_XXXXXX";
    close(mkstemp(copy));
    hone_mask_set *set = NULL;
    assert_int_equal(hone_mask_set_load(&set, context, MASKS "mixed.pt", NULL, NULL), HONE_OK);
    assert_int_equal(hone_mask_set_save(set, copy, NULL), HONE_OK);
    hone_mask_set_free(set);
    fail_each_allocation(copy);
    unlink(copy);
}

int main(void)
{
    const int descriptor = mkstemp(scratch);
    if (descriptor < 0)
        return 1;
    close(descriptor);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_of_torch),
        cmocka_unit_test(files_of_old_versions),
        cmocka_unit_test(mixed_layouts_are_told_apart),
        cmocka_unit_test(numbers_beside_the_masks),
        cmocka_unit_test(files_that_are_refused),
        cmocka_unit_test(the_limit_is_kept),
        cmocka_unit_test(own_files_there_and_back),
        cmocka_unit_test(an_empty_set_there_and_back),
        cmocka_unit_test(the_smaller_form_is_written),
        cmocka_unit_test(dense_safetensors),
        cmocka_unit_test(own_files_that_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    const int failed = cmocka_run_group_tests(tests, setup_golden, teardown_golden);
    unlink(scratch);
    return failed;
}
