// raster.cuh — which tile a block computes.
#pragma once
#include "common/ptx.cuh"

// Tile of the block: groups of eight tile rows share their columns' operand in the L2 cache.
__device__ __forceinline__ int2 gemm_tile(int rows, int columns) {
    const int block = blockIdx.x, group = block / (8 * columns), first = group * 8;
    const int height = min(rows - first, 8), within = block - group * 8 * columns;
    return make_int2(first + within % height, within / height);
}
