// attention_split.cu — attention of few rows: a block takes one split of 256 keys and leaves max, sum and output of its rows.
//
// Shapes   q : [T, H, D] bf16     k, v : pages [page][G][64][D] bf16     partial_o : [., D] f32     partial_ml : [., 2] f32
// Grid     one block per item of the work list (kernels/src/attention_work.rs): decode of one token at 2048 keys is 8 G blocks
// Traffic  memory bound: k and v of the split once; partials (D + 2) * 4 bytes per row and split
// Numerics see attention.cuh; attention_combine merges the splits in ascending order
#include "attention.cuh"

// 4 stages: three copies of 64 keys (48 KiB at D = 128) under way per block keep the memory busy with one block per SM.
#define SPLIT(D, STAGES)                                                                                             \
    extern "C" __global__ void __launch_bounds__(attention::kThreads, 2) attention_split_##D(const AttentionParams p) { \
        attention::run<D, STAGES, true>(p);                                                                          \
    }
SPLIT(16, 4)
SPLIT(32, 4)
SPLIT(64, 4)
SPLIT(96, 4)
SPLIT(128, 4)
SPLIT(256, 2)
