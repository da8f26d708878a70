/* SPDX-License-Identifier: Apache-2.0 */
/* GPT-2 124M (Radford et al. 2019): 12 layers, width 768, 1024 positions, 50257 tokens; two
 * embeddings, twelve tensors a layer, and the last norm: 124,439,808 parameters. */
#include "bench_shapes.h"

#include <stddef.h>

enum { LAYERS = 12, WIDTH = 768, POSITIONS = 1024, TOKENS = 50257 };

static const int64_t layer[] = {
    WIDTH,             /* ln_1.weight */
    WIDTH,             /* ln_1.bias */
    WIDTH * 3 * WIDTH, /* attn.c_attn.weight */
    3 * WIDTH,         /* attn.c_attn.bias */
    WIDTH *WIDTH,      /* attn.c_proj.weight */
    WIDTH,             /* attn.c_proj.bias */
    WIDTH,             /* ln_2.weight */
    WIDTH,             /* ln_2.bias */
    WIDTH * 4 * WIDTH, /* mlp.c_fc.weight */
    4 * WIDTH,         /* mlp.c_fc.bias */
    4 * WIDTH *WIDTH,  /* mlp.c_proj.weight */
    WIDTH,             /* mlp.c_proj.bias */
};

int64_t bench_gpt2_lengths(int64_t lengths[BENCH_GPT2_TENSORS])
{
    int count = 0;
    lengths[count++] = TOKENS * WIDTH;    /* wte.weight */
    lengths[count++] = POSITIONS * WIDTH; /* wpe.weight */
    for (int i = 0; i < LAYERS; i++)
        for (size_t k = 0; k < sizeof layer / sizeof layer[0]; k++)
            lengths[count++] = layer[k];
    lengths[count++] = WIDTH; /* ln_f.weight */
    lengths[count++] = WIDTH; /* ln_f.bias */
    int64_t total = 0;
    for (int i = 0; i < count; i++)
        total += lengths[i];
    return total;
}
