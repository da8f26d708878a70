/* SPDX-License-Identifier: Apache-2.0 */
/* .pt files that torch would not write: archives that are cut, packed or named in tricky ways, and
 * pickles that call, recurse, grow or point outside. Each is refused with its sentence. */
#include "checkpoint/pickle.h"
#include "unit/mask_model.h"
#include "unit/pt_image.h"

/* What a storage named "0" or "1" holds: bytes 1 1 1 ... and the numbers 0 1 2 ... */
static unsigned char ones[64];
static int64_t counting[8];

static int setup_storages(void **state)
{
    memset(ones, 1, sizeof ones);
    for (int i = 0; i < LENGTH(counting); i++)
        counting[i] = i;
    return setup(state);
}

static struct image archive_of(const struct image *pickle)
{
    const struct zip_entry entries[] = {
        {.name = "x/data.pkl", .bytes = pickle->bytes, .size = pickle->size},
        {.name = "x/byteorder", .bytes = "little", .size = 6},
        {.name = "x/data/0", .bytes = ones, .size = sizeof ones},
        {.name = "x/data/1", .bytes = counting, .size = sizeof counting},
        {.name = "x/data/2", .bytes = "", .size = 0},
    };
    return make_zip(entries, LENGTH(entries));
}

static hone_status read_image(hone_mask_set **set, const struct image *image, hone_error *error)
{
    /* An allocation of just the size: a read beyond it is seen by the sanitizer. */
    unsigned char *exact = malloc(image->size + 1);
    memcpy(exact, image->bytes, image->size);
    const hone_status status = hone_mask_set_read(set, context, exact, image->size, NULL, error);
    free(exact);
    return status;
}

static hone_status read_pickle(hone_mask_set **set, struct image *pickle, hone_error *error)
{
    struct image archive = archive_of(pickle);
    const hone_status status = read_image(set, &archive, error);
    drop(&archive);
    drop(pickle);
    return status;
}

#define assert_pickle_refused(pickle, status, sentence)                       \
    do {                                                                      \
        hone_mask_set *set_ = NULL;                                           \
        assert_refused(read_pickle(&set_, pickle, &error), status, sentence); \
        assert_null(set_);                                                    \
    } while (0)

#define assert_image_refused(image, sentence)                                          \
    do {                                                                               \
        hone_mask_set *set_ = NULL;                                                    \
        assert_refused(read_image(&set_, image, &error), HONE_ERROR_FORMAT, sentence); \
        assert_null(set_);                                                             \
    } while (0)

static struct image good_pickle(void)
{
    struct image pickle = start_masks();
    put_tensor(&pickle, &(struct tensor_plan){.type = "BoolStorage",
                                              .key = "0",
                                              .storage = 64,
                                              .ndim = 2,
                                              .size = {3, 4},
                                              .stride = {4, 1}});
    end_masks(&pickle);
    return pickle;
}

/* The tools of this file make files that load, so that a refusal has the reason it is meant to. */
static void a_good_file_loads(void **state)
{
    (void)state;
    struct image pickle = good_pickle();
    hone_mask_set *set = NULL;
    hone_error error = {.message = ""};
    if (read_pickle(&set, &pickle, &error) != HONE_OK)
        fail_msg("%s", error.message);
    assert_int_equal(hone_mask_count(hone_mask_set_mask(set, 0)), 12);
    hone_mask_set_free(set);
}

/* ---- archives ------------------------------------------------------------------------------- */

static void archives_cut_anywhere(void **state)
{
    (void)state;
    struct image pickle = good_pickle(), archive = archive_of(&pickle);
    const size_t whole = archive.size;
    for (archive.size = 4; archive.size < whole; archive.size++) {
        hone_mask_set *set = NULL;
        hone_error error;
        assert_int_equal(read_image(&set, &archive, &error), HONE_ERROR_FORMAT);
        assert_int_equal(strncmp(error.message, "the zip archive is cut short", 28), 0);
    }
    drop(&archive);
    drop(&pickle);
}

/* Whatever byte is changed, the file loads or is refused, and nothing is read outside it. */
static void archives_with_any_byte_changed(void **state)
{
    (void)state;
    struct image pickle = good_pickle(), archive = archive_of(&pickle);
    for (size_t i = 0; i < archive.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            archive.bytes[i] ^= (unsigned char)(1 << bit);
            hone_mask_set *set = NULL;
            if (read_image(&set, &archive, NULL) == HONE_OK)
                hone_mask_set_free(set);
            else
                assert_null(set);
            archive.bytes[i] ^= (unsigned char)(1 << bit);
        }
    drop(&archive);
    drop(&pickle);
}

static void archives_with_bad_entries(void **state)
{
    (void)state;
    static const struct {
        struct zip_entry entry;
        const char *sentence;
    } cases[] = {
        {{.name = "x/../../etc/passwd", .bytes = "a", .size = 1},
         "the archive's entry 'x/../../etc/passwd'; torch.save writes plain names within one "
         "folder"},
        {{.name = "/etc/passwd", .bytes = "a", .size = 1},
         "the archive's entry '/etc/passwd'; torch.save writes plain names within one folder"},
        {{.name = "x\\..\\y", .bytes = "a", .size = 1},
         "the archive's entry 'x\\..\\y'; torch.save writes plain names within one folder"},
        {{.name = "loose", .bytes = "a", .size = 1},
         "the archive's entry 'loose'; torch.save writes plain names within one folder"},
        {{.name = "y/data/0", .bytes = "a", .size = 1},
         "the archive's entry 'y/data/0' is outside the folder 'x' of the first one"},
        {{.name = "x/bomb", .bytes = "a", .size = 1, .method = 8},
         "the archive's entry 'x/bomb' is compressed; torch.save stores entries as they are, and "
         "only such are read"},
        {{.name = "x/data.pkl", .bytes = "a", .size = 1},
         "the zip archive is cut short or damaged: File already exists"},
        {{.name = "x/byteorder", .bytes = "big", .size = 3},
         "the archive's byte order is 'big'; allowed: 'little'"},
    };
    for (int c = 0; c < LENGTH(cases); c++) {
        struct image pickle = good_pickle();
        const struct zip_entry entries[] = {
            {.name = "x/data.pkl", .bytes = pickle.bytes, .size = pickle.size},
            {.name = "x/data/0", .bytes = ones, .size = sizeof ones},
            cases[c].entry,
        };
        struct image archive = make_zip(entries, LENGTH(entries));
        assert_image_refused(&archive, cases[c].sentence);
        drop(&archive);
        drop(&pickle);
    }
}

static void archives_without_a_pickle(void **state)
{
    (void)state;
    const struct zip_entry entry = {.name = "x/other", .bytes = "a", .size = 1};
    struct image archive = make_zip(&entry, 1);
    assert_image_refused(&archive,
                         "the zip archive has no entry data.pkl in its folder; torch.save "
                         "writes one");
    drop(&archive);
}

/* An entry whose headers claim four gigabytes: no such memory is asked for. */
static void entries_that_claim_too_much(void **state)
{
    (void)state;
    struct image pickle = good_pickle();
    const struct zip_entry entries[] = {
        {.name = "x/data.pkl", .bytes = pickle.bytes, .size = pickle.size},
        {.name = "x/data/0", .bytes = ones, .size = 64, .claimed_extra = 0xf0000000u},
    };
    struct image archive = make_zip(entries, LENGTH(entries));
    hone_mask_set *set = NULL;
    hone_error error;
    assert_int_equal(read_image(&set, &archive, &error), HONE_ERROR_FORMAT);
    assert_int_equal(strncmp(error.message, "the zip archive is cut short", 28), 0);
    drop(&archive);
    drop(&pickle);
}

/* ---- names ---------------------------------------------------------------------------------- */

static void names_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *module, *name, *shown;
    } cases[] = {
        {"os", "system", "os.system"},
        {"posix", "system", "posix.system"},
        {"builtins", "eval", "builtins.eval"},
        {"builtins", "getattr", "builtins.getattr"},
        {"__builtin__", "exec", "__builtin__.exec"},
        {"torch", "load", "torch.load"},
        {"torch._utils", "_rebuild_tensor_v3", "torch._utils._rebuild_tensor_v3"},
        {"torch.storage", "UntypedStorage", "torch.storage.UntypedStorage"},
        {"collections", "OrderedDict ", "collections.OrderedDict "},
        {"a\x1b[31m", "b\xff", "a?[31m.b?"},
    };
    for (int c = 0; c < LENGTH(cases); c++) {
        struct image pickle = start_pickle();
        put_global(&pickle, cases[c].module, cases[c].name);
        put_string(&pickle, "touch /tmp/owned");
        put_opcode(&pickle, "\x85R.");
        char sentence[256];
        snprintf(sentence, sizeof sentence,
                 "the pickle, byte 2: the file names %s; allowed: tensors, torch.Size, dtypes and "
                 "collections.OrderedDict",
                 cases[c].shown);
        assert_pickle_refused(&pickle, HONE_ERROR_FORMAT, sentence);
    }
}

/* ---- the machine ---------------------------------------------------------------------------- */

static void opcodes_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *sentence;
    } cases[] = {
        {"", 0, "the pickle, byte 2: the pickle ends without a STOP"},
        {".", 1,
         "the pickle, byte 2: the pickle ends with 0 values on the stack; one is its result"},
        {"NN.", 3,
         "the pickle, byte 4: the pickle ends with 2 values on the stack; one is its result"},
        {"(.", 2,
         "the pickle, byte 3: the pickle ends with 1 values on the stack; one is its result"},
        {"\x80\x04.", 3,
         "the pickle, byte 2: pickle protocol 4; torch.save writes 2 unless told otherwise, and "
         "that "
         "is what is read"},
        {"N2", 2, "the pickle, byte 3: the opcode 0x32; torch.save writes none such"},
        {"i", 1, "the pickle, byte 2: the opcode 0x69; torch.save writes none such"},
        {"a", 1, "the pickle, byte 2: the opcode needs 1 value on the stack; there are fewer"},
        {"(a", 2, "the pickle, byte 3: the opcode needs 1 value on the stack; there are fewer"},
        {"\x87", 1, "the pickle, byte 2: the opcode needs 3 values on the stack; there are fewer"},
        {"NNt", 3, "the pickle, byte 4: the opcode needs a mark on the stack; there is none"},
        {"Na", 2, "the pickle, byte 3: values are added to nothing; this opcode adds to a list"},
        {"}Na", 3,
         "the pickle, byte 4: values are added to a dictionary; this opcode adds to a list"},
        {"](Ns", 4, "the pickle, byte 5: the opcode needs 2 values on the stack; there are fewer"},
        {"}(Nu", 4, "the pickle, byte 5: a dictionary is given a key without a value"},
        {"}]Ns", 4,
         "the pickle, byte 5: a key of a dictionary is a list; allowed: strings, numbers, bools "
         "and "
         "None"},
        {"NNR", 3,
         "the pickle, byte 4: None is called with None; allowed: a function with a tuple"},
        {"]}b", 3,
         "the pickle, byte 4: attributes of a list are set from a dictionary; allowed: those of a "
         "dictionary from a dictionary"},
        {"NQ", 2, "the pickle, byte 3: a persistent id is None; it must be a tuple"},
        {")Q", 2, "the pickle, byte 3: a persistent id with 0 parts; allowed: 5 to 5"},
        {"X\xff\xff\xff\xff", 5,
         "the pickle, byte 2: the pickle ends within 4294967295 bytes; 0 are left"},
        {"J\1\2", 3, "the pickle, byte 2: the pickle ends within 4 bytes; 2 are left"},
        {"\x8a\x09"
         "123456789",
         11, "the pickle, byte 2: an integer of 9 bytes; allowed: at most 8"},
        {"ctorch", 6, "the pickle, byte 2: a name has no end"},
        {"h\0", 2, "the pickle, byte 2: memo entry 0 is read before it is written"},
        {"j\xff\xff\xff\xff", 5,
         "the pickle, byte 2: memo entry 4294967295 is read before it is written"},
        {"Nr\xff\xff\xff\xff", 6,
         "the pickle, byte 3: memo entry 4294967295 is used; a pickle of 8 bytes has fewer"},
        {"q\0", 2, "the pickle, byte 2: the opcode needs 1 value on the stack; there are fewer"},
    };
    for (int c = 0; c < LENGTH(cases); c++) {
        struct image pickle = start_pickle();
        put(&pickle, cases[c].bytes, cases[c].size);
        assert_pickle_refused(&pickle, HONE_ERROR_FORMAT, cases[c].sentence);
    }
}

static void values_that_hold_themselves(void **state)
{
    (void)state;
    struct image pickle = start_pickle();
    put(&pickle, "]q\0h\0a.", 7);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "the pickle, byte 7: a list is changed after it became part of another "
                          "value, or of itself");
    pickle = start_pickle(); /* a = {}; b = [a]; a[None] = b */
    put(&pickle, "(}q\0]q\1h\0at(h\0Nh\1s.", 19);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "the pickle, byte 19: a dictionary is changed after it became part of "
                          "another value, or of itself");
}

static void deep_nesting(void **state)
{
    (void)state;
    for (int depth = HONE_PICKLE_MAX_DEPTH; depth <= HONE_PICKLE_MAX_DEPTH + 1; depth++) {
        struct image pickle = start_pickle();
        for (int i = 0; i < depth; i++)
            put_opcode(&pickle, "]");
        for (int i = 1; i < depth; i++)
            put_opcode(&pickle, "a");
        put_opcode(&pickle, ".");
        if (depth <= HONE_PICKLE_MAX_DEPTH)
            assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                                  "the file holds a list; a mask file holds a dictionary");
        else
            assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                                  "the pickle, byte 130: values are nested more than 64 deep");
    }
}

/* Each tuple holds the last one twice: 2^60 leaves for who walks them all, 60 tuples in memory. */
static void sharing_does_not_multiply(void **state)
{
    (void)state;
    struct image pickle = start_masks();
    put(&pickle, "Nq\0", 3);
    for (int i = 0; i < 60; i++)
        put(&pickle, "h\0\x86q\0", 5);
    end_masks(&pickle);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "mask 'w': it is a tuple; a mask is a dense or sparse tensor, or a "
                          "dictionary with 'indices' and 'shape'");
}

/* ---- tensors -------------------------------------------------------------------------------- */

static void tensors_that_do_not_fit(void **state)
{
    (void)state;
    const int64_t huge = INT64_C(1) << 62;
    static const char *const prefix = "the pickle, byte ";
    const struct {
        struct tensor_plan plan;
        hone_status status;
        const char *sentence; /* without the byte where the plan of a pickle is refused */
    } cases[] = {
        {{"BoolStorage", "0", 65, 0, 1, {3}, {1}},
         HONE_ERROR_FORMAT,
         "storage '0' is said to hold 65 elements of BOOL; the file has 64 bytes of it"},
        {{"DoubleStorage", "0", huge, 0, 1, {3}, {1}},
         HONE_ERROR_FORMAT,
         "storage '0' is said to hold 4611686018427387904 elements of F64; the file has 64 bytes "
         "of "
         "it"},
        {{"BoolStorage", "0", -1, 0, 1, {3}, {1}},
         HONE_ERROR_FORMAT,
         "storage '0' is said to hold -1 elements of BOOL; the file has 64 bytes of it"},
        {{"BoolStorage", "0", 64, 0, 1, {65}, {1}},
         HONE_ERROR_FORMAT,
         "a tensor of 65 elements from element 0 on goes beyond its storage of 64"},
        {{"BoolStorage", "0", 64, 60, 1, {5}, {1}},
         HONE_ERROR_FORMAT,
         "a tensor of 5 elements from element 60 on goes beyond its storage of 64"},
        {{"BoolStorage", "0", 64, 0, 2, {2, 2}, {63, 2}},
         HONE_ERROR_FORMAT,
         "a tensor of 4 elements from element 0 on goes beyond its storage of 64"},
        {{"BoolStorage", "0", 64, 0, 1, {3}, {huge}},
         HONE_ERROR_FORMAT,
         "a tensor of 3 elements from element 0 on goes beyond its storage of 64"},
        {{"BoolStorage", "0", 64, 0, 2, {5, 5}, {huge, huge}},
         HONE_ERROR_FORMAT,
         "a tensor of 25 elements from element 0 on goes beyond its storage of 64"},
        {{"BoolStorage", "0", 64, INT64_MAX, 1, {2}, {1}},
         HONE_ERROR_FORMAT,
         "a tensor of 2 elements from element 9223372036854775807 on goes beyond its storage of "
         "64"},
        {{"BoolStorage", "0", 64, -1, 1, {2}, {1}},
         HONE_ERROR_FORMAT,
         "a tensor begins at element -1 of its storage"},
        {{"BoolStorage", "0", 64, 9, 1, {3}, {-1}},
         HONE_ERROR_FORMAT,
         "the strides of a tensor holds -1; allowed: 0 and more"},
        {{"BoolStorage", "0", 64, 0, 1, {-3}, {1}},
         HONE_ERROR_FORMAT,
         "the size of a tensor holds -3; allowed: 0 and more"},
        {{"BoolStorage", "0", 64, 0, 2, {huge, 8}, {0, 0}},
         HONE_ERROR_FORMAT,
         "a tensor has more than 2^62 elements"},
        {{"BoolStorage", "0", 64, 0, 1, {huge}, {0}},
         HONE_ERROR_MEMORY,
         "mask 'w': its shape [4611686018427387904] needs more memory than the limit of 1073748264 "
         "bytes leaves, of which 4096 are taken (hone_mask_load_options.memory_limit)"},
        {{"BoolStorage", "2", 1, 0, 1, {1}, {1}},
         HONE_ERROR_FORMAT,
         "storage '2' is said to hold 1 elements of BOOL; the file has 0 bytes of it"},
        {{"BoolStorage", "9", 1, 0, 1, {1}, {1}},
         HONE_ERROR_FORMAT,
         "the archive has no storage '9'"},
        {{"BoolStorage", "../data.pkl", 1, 0, 1, {1}, {1}},
         HONE_ERROR_FORMAT,
         "the archive has no storage '../data.pkl'"},
        {{"FloatStorage", "0", 16, 0, 1, {3}, {1}},
         HONE_ERROR_DTYPE,
         "mask 'w': values: a dense mask is BOOL or U8; this tensor is F32"},
    };
    for (int c = 0; c < LENGTH(cases); c++) {
        struct image pickle = start_masks();
        put_tensor(&pickle, &cases[c].plan);
        end_masks(&pickle);
        hone_mask_set *set = NULL;
        hone_error error = {.message = ""};
        assert_int_equal(read_pickle(&set, &pickle, &error), cases[c].status);
        const char *message = error.message;
        if (strncmp(message, prefix, strlen(prefix)) == 0)
            message = strchr(message, ':') + 2;
        assert_string_equal(message, cases[c].sentence);
    }
}

/* Strides that stay inside are read, whatever they repeat or leave out; a step never taken may be
 * any number. */
static void tensors_that_do_fit(void **state)
{
    (void)state;
    const int64_t huge = INT64_C(1) << 62;
    const struct {
        struct tensor_plan plan;
        int64_t count;
    } cases[] = {
        {{"BoolStorage", "0", 64, 63, 0, {0}, {0}}, 1},
        {{"BoolStorage", "0", 64, 63, 2, {1, 1}, {huge, huge}}, 1},
        {{"BoolStorage", "0", 64, 0, 2, {1000, 1000}, {0, 0}}, 1000000},
        {{"BoolStorage", "0", 64, 1, 2, {4, 2}, {1, 40}}, 8},
        {{"BoolStorage", "2", 0, 0, 2, {0, 7}, {huge, 1}}, 0},
        {{"ByteStorage", "1", 64, 8, 1, {7}, {8}}, 7}, /* the low bytes of 1 to 7 */
    };
    for (int c = 0; c < LENGTH(cases); c++) {
        struct image pickle = start_masks();
        put_tensor(&pickle, &cases[c].plan);
        end_masks(&pickle);
        hone_mask_set *set = NULL;
        hone_error error = {.message = ""};
        if (read_pickle(&set, &pickle, &error) != HONE_OK)
            fail_msg("%s", error.message);
        assert_int_equal(hone_mask_count(hone_mask_set_mask(set, 0)), cases[c].count);
        hone_mask_set_free(set);
    }
}

/* ---- compact and sparse --------------------------------------------------------------------- */

/* {"indices": [0 .. n - 1 by stride], "shape": ..., and more } */
static struct image start_compact(int64_t n, int64_t stride, int ndim, const int64_t *shape)
{
    struct image pickle = start_masks();
    put_opcode(&pickle, "}(");
    put_string(&pickle, "indices");
    put_tensor(&pickle, &(struct tensor_plan){.type = "LongStorage",
                                              .key = "1",
                                              .storage = 8,
                                              .ndim = 1,
                                              .size = {n},
                                              .stride = {stride}});
    put_string(&pickle, "shape");
    put_tuple(&pickle, ndim, shape);
    return pickle;
}

static void end_compact(struct image *pickle)
{
    put_opcode(pickle, "u");
    end_masks(pickle);
}

static void compact_dictionaries(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 4}, negative[] = {-1}, large[] = {INT64_MAX / 2, 9};
    struct image pickle = start_compact(8, 1, 2, shape);
    end_compact(&pickle);
    hone_mask_set *set = NULL;
    assert_int_equal(read_pickle(&set, &pickle, NULL), HONE_OK);
    assert_int_equal(hone_mask_count(hone_mask_set_mask(set, 0)), 8);
    hone_mask_set_free(set);

    pickle = start_compact(8, 1, 1, shape);
    end_compact(&pickle);
    assert_pickle_refused(
        &pickle, HONE_ERROR_RANGE,
        "mask 'w': positions: number 2 is 2; a mask of shape [2] has the positions "
        "from 0 to below 2");
    pickle = start_compact(8, 0, 2, shape);
    end_compact(&pickle);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "mask 'w': of its 8 positions only 1 are different");
    pickle = start_compact(8, 1, 1, negative);
    end_compact(&pickle);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "mask 'w': its 'shape' holds something else than integers from 0 on");
    pickle = start_compact(8, 1, 2, large);
    end_compact(&pickle);
    assert_pickle_refused(
        &pickle, HONE_ERROR_MEMORY,
        "mask 'w': its shape [4611686018427387903,9] needs more memory than the limit of "
        "1073748640 "
        "bytes leaves, of which 4096 are taken (hone_mask_load_options.memory_limit)");
    pickle = start_compact(8, 1, 2, shape);
    put_string(&pickle, "nnz");
    put_integer(&pickle, 7);
    end_compact(&pickle);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "mask 'w': it has 8 positions, but its 'nnz' is not that number");
    pickle = start_compact(8, 1, 2, shape);
    put_string(&pickle, "layout");
    put_string(&pickle, "csr");
    end_compact(&pickle);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "mask 'w': its 'layout' is csr; it must be 'compact_sparse'");
}

/* Indices and values that go on by `step` along the entries. */
static struct image start_sparse(const char *layout, int rows, int64_t entries, int64_t step,
                                 int64_t values, int ndim, const int64_t *shape)
{
    struct image pickle = start_masks();
    put_global(&pickle, "torch._utils", "_rebuild_sparse_tensor");
    put_global(&pickle, "torch.serialization", "_get_layout");
    put_string(&pickle, layout);
    put_opcode(&pickle, "\x85R(");
    struct tensor_plan plan = {.type = "LongStorage",
                               .key = "1",
                               .storage = 8,
                               .ndim = 2,
                               .size = {rows, entries},
                               .stride = {1, step}};
    put_tensor(&pickle, &plan);
    plan = (struct tensor_plan){.type = "BoolStorage",
                                .key = "0",
                                .storage = 64,
                                .ndim = 1,
                                .size = {values},
                                .stride = {step}};
    put_tensor(&pickle, &plan);
    put_tuple(&pickle, ndim, shape);
    put_opcode(&pickle, "\x88t\x86R");
    return pickle;
}

static struct image sparse_pickle(const char *layout, int rows, int64_t entries, int64_t step,
                                  int64_t values, int ndim, const int64_t *shape)
{
    struct image pickle = start_sparse(layout, rows, entries, step, values, ndim, shape);
    end_masks(&pickle);
    return pickle;
}

#define OF_WHICH "a file may repeat as many entries as it has bytes, of which "

/* Work that a file asks for is bounded by its size and the masks': not by views that name one place
 * a quintillion times, nor by one large tensor or dictionary that many masks name. */
static void small_files_ask_for_little(void **state)
{
    (void)state;
    static const int64_t shape[] = {2, 4}, small[] = {1, 2};
    struct image pickle = start_compact(INT64_C(1) << 60, 0, 2, shape);
    end_compact(&pickle);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "mask 'w': its indices have 1152921504606846976 entries, but the mask "
                          "has 8 elements; " OF_WHICH "852 are left");
    const int64_t many = INT64_C(1) << 50;
    pickle = sparse_pickle("torch.sparse_coo", 2, many, 0, many, 2, shape);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "mask 'w': its indices have 1125899906842624 entries, but the mask has "
                          "8 elements; " OF_WHICH "1101 are left");
    pickle = start_sparse("torch.sparse_coo", 2, 600, 0, 600, 2, small);
    put_opcode(&pickle, "q\x01s"); /* the same tensor for a second mask */
    put_string(&pickle, "again");
    put_opcode(&pickle, "h\x01");
    end_masks(&pickle);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "mask 'again': its indices have 600 entries, but the mask has 2 "
                          "elements; " OF_WHICH "518 are left");
    for (int more = 62; more <= 63; more++) { /* beside the two that a mask has */
        pickle = start_compact(8, 1, 2, shape);
        for (int i = 0; i < more; i++) {
            put_integer(&pickle, i);
            put_opcode(&pickle, "N");
        }
        end_compact(&pickle);
        hone_mask_set *set = NULL;
        hone_error error;
        if (more == 62) {
            assert_int_equal(read_pickle(&set, &pickle, &error), HONE_OK);
            hone_mask_set_free(set);
            continue;
        }
        assert_int_equal(read_pickle(&set, &pickle, &error), HONE_ERROR_FORMAT);
        assert_non_null(strstr(error.message, "mask 'w': it is a dictionary; a mask is"));
    }
}

static void sparse_tensors(void **state)
{
    (void)state;
    static const int64_t shape[] = {3, 4}, small[] = {3, 3};
    struct image pickle = sparse_pickle("torch.sparse_coo", 2, 3, 1, 3, 2, shape);
    hone_mask_set *set = NULL;
    assert_int_equal(read_pickle(&set, &pickle, NULL), HONE_OK);
    assert_int_equal(hone_mask_words(hone_mask_set_mask(set, 0))[0], 1u << 1 | 1u << 6 | 1u << 11);
    hone_mask_set_free(set);
    pickle = sparse_pickle("torch.sparse_csr", 2, 3, 1, 3, 2, shape);
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "the pickle, byte 112: the layout torch.sparse_csr; allowed: "
                          "torch.sparse_coo");
    pickle = sparse_pickle("torch.sparse_coo", 2, 3, 1, 3, 2, small);
    assert_pickle_refused(&pickle, HONE_ERROR_RANGE,
                          "mask 'w': indices: entry 2 is 3 in dimension 1, which goes from 0 to "
                          "below 3");
    pickle = sparse_pickle("torch.sparse_coo", 1, 3, 1, 3, 2, shape);
    assert_pickle_refused(&pickle, HONE_ERROR_SHAPE,
                          "mask 'w': indices: the shape is [1,3]; a mask of 2 dimensions needs as "
                          "many rows");
    pickle = sparse_pickle("torch.sparse_coo", 2, 3, 1, 4, 2, shape);
    assert_pickle_refused(&pickle, HONE_ERROR_SHAPE,
                          "mask 'w': values: the shape is [4]; 3 indices need [3]");
}

/* ---- dictionaries that hold no masks -------------------------------------------------------- */

static void other_dictionaries(void **state)
{
    (void)state;
    struct image pickle = start_pickle();
    put_opcode(&pickle, "}.");
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "the file holds an empty dictionary; a mask file has 'masks', "
                          "'intersection_masks' or masks by name");
    pickle = start_pickle();
    put_opcode(&pickle, "}");
    put_string(&pickle, "state");
    put_opcode(&pickle, "}s.");
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "the file has neither 'masks' nor 'intersection_masks', and its entry "
                          "'state' is a dictionary, not a mask");
    pickle = start_pickle(); /* the same name twice */
    put_opcode(&pickle, "}(");
    for (int i = 0; i < 2; i++) {
        put_string(&pickle, "w");
        put_tensor(&pickle,
                   &(struct tensor_plan){.type = "BoolStorage", .key = "0", .storage = 64});
    }
    put_opcode(&pickle, "u.");
    assert_pickle_refused(&pickle, HONE_ERROR_NAME,
                          "two masks are called 'w'; names must be unique");
    pickle = start_pickle(); /* a name that is none */
    put_opcode(&pickle, "}");
    put_integer(&pickle, 3);
    put_tensor(&pickle, &(struct tensor_plan){.type = "BoolStorage", .key = "0", .storage = 64});
    put_opcode(&pickle, "s.");
    assert_pickle_refused(&pickle, HONE_ERROR_FORMAT,
                          "a mask's name is an integer; it must be a string");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_loads),
        cmocka_unit_test(archives_cut_anywhere),
        cmocka_unit_test(archives_with_any_byte_changed),
        cmocka_unit_test(archives_with_bad_entries),
        cmocka_unit_test(archives_without_a_pickle),
        cmocka_unit_test(entries_that_claim_too_much),
        cmocka_unit_test(names_are_refused_by_name),
        cmocka_unit_test(opcodes_that_do_not_fit),
        cmocka_unit_test(values_that_hold_themselves),
        cmocka_unit_test(deep_nesting),
        cmocka_unit_test(sharing_does_not_multiply),
        cmocka_unit_test(tensors_that_do_not_fit),
        cmocka_unit_test(tensors_that_do_fit),
        cmocka_unit_test(compact_dictionaries),
        cmocka_unit_test(small_files_ask_for_little),
        cmocka_unit_test(sparse_tensors),
        cmocka_unit_test(other_dictionaries),
    };
    return cmocka_run_group_tests(tests, setup_storages, teardown);
}
