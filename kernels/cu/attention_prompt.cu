// attention_prompt.cu — o = softmax(q kᵀ / sqrt(D) + mask) v for many rows: a block walks all keys of its tile.
//
// Shapes   q, o : [T, H, D] bf16     k, v : pages [page][G][64][D] bf16     D even, at most 256; the template is the next one
// Grid     one block per item of the work list, longest first (kernels/src/attention_work.rs)
// Traffic  per tile: q and o once, k and v of the blocks its rows see once
// Numerics see attention.cuh: the bits of a row are those of attention_split and attention_combine
#include "attention.cuh"

// 2 stages: K is copied while the softmax and P V run, V while Q K runs. 48 KiB at D = 128, so two blocks share an SM of 100 KiB.
#define PROMPT(D)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(attention::kThreads, 2) attention_prompt_##D(const AttentionParams p) { \
        attention::run<D, 2, false>(p);                                                                               \
    }
PROMPT(16)
PROMPT(32)
PROMPT(64)
PROMPT(96)
PROMPT(128)
PROMPT(256)
