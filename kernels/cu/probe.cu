// probe.cu — out[i] = i + base: shows that an image loads and that a kernel runs.
#include "common/ptx.cuh"
#include "params.h"

extern "C" __global__ void __launch_bounds__(256) probe(const ProbeParams p) {
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (i < p.n) reinterpret_cast<u32*>(p.out)[i] = i + p.base;
}
