"""CUDA source of what both forms share: how the variables of B problems lie in their buffers."""

SOURCE = r"""
// Variable after variable, in each problem after problem: H (D x C), W_1 .. W_{M-1} (D x D),
// W_M (K x D) and, if there is one, the bias (K). See `collapse.problems.parameters.Flat`.

// Where H (m = 0) or W_m begins.
__device__ size_t start_of(int m, int problem, int batch) {
    const size_t columns = m == 0 ? C : D;
    const size_t before = m == 0 ? 0 : (size_t)batch * D * (C + (m - 1) * D);
    return before + problem * D * columns;
}
__device__ size_t start_of_last(int problem, int batch) {
    return (size_t)batch * D * (C + (M - 1) * D) + (size_t)problem * K * D;
}
__device__ size_t start_of_bias(int problem, int batch) {
    return start_of_last(batch, batch) + (size_t)problem * K;
}
"""
