"""CUDA source: one block takes many steps of gradient descent on one deep linear MSE problem."""

SOURCE = r"""
// M layers W_1 .. W_M on features H: H is D x C, the weights D x D, the last one K x D. With BIAS,
// a bias of K. Matrices lie by rows. With SHARED the position stays in shared memory, else in L2,
// as the velocity always does.
//
// Products P_m = W_M .. W_{m+1} and S_m = R H^T W_1^T .. W_{m-1}^T have K rows: they are kept
// transposed, the K numbers of a column side by side.

constexpr int THREADS = 512, WARPS = THREADS / 32;
// K as a power of 2, and how many rows a warp sums at once so that its lanes end up with 16 sums.
constexpr int PADDED = K <= 1 ? 1 : K <= 2 ? 2 : K <= 4 ? 4 : K <= 8 ? 8 : 16;
constexpr int ROWS = 16 / PADDED;
constexpr int WIDEST = C > D ? C : D;

constexpr __host__ __device__ int slices(int columns) {
    return columns < THREADS ? THREADS / columns : 1;
}
constexpr int PARTS = slices(C) * C > slices(D) * D ? slices(C) * C : slices(D) * D;

// Sums over slices of the rows of product^T matrix, for each column; `gather` adds the slices.
template <int COLUMNS>
__device__ void multiply_left(const double* matrix, const double* product, double* parts) {
    constexpr int SLICES = slices(COLUMNS), LENGTH = (D + SLICES - 1) / SLICES;
    for (int place = threadIdx.x; place < SLICES * COLUMNS; place += THREADS) {
        const int column = place % COLUMNS, first = place / COLUMNS * LENGTH;
        const int end = first + LENGTH < D ? first + LENGTH : D;
        double sums[K] = {};
        #pragma unroll 8
        for (int row = first; row < end; ++row) {
            const double value = matrix[row * COLUMNS + column];
            #pragma unroll
            for (int k = 0; k < K; ++k) sums[k] += product[row * K + k] * value;
        }
        #pragma unroll
        for (int k = 0; k < K; ++k) parts[place * K + k] = sums[k];
    }
    __syncthreads();
}

template <int COLUMNS> __device__ double gather(const double* parts, int place) {
    double sum = 0;
    #pragma unroll
    for (int slice = 0; slice < slices(COLUMNS); ++slice) sum += parts[slice * COLUMNS * K + place];
    return sum;
}

// Lanes exchange halves of their sums: afterwards lane l has that of sums[l % 16] over lanes alike
// in bits below 16.
template <int HALF> __device__ void exchange(double (&sums)[16], int lane) {
    #pragma unroll
    for (int i = 0; i < HALF; ++i) {
        const bool upper = lane & HALF;
        const double kept = upper ? sums[i + HALF] : sums[i];
        const double given = upper ? sums[i] : sums[i + HALF];
        sums[i] = kept + __shfl_xor_sync(~0u, given, HALF);
    }
}

// next = matrix inner; then the step: velocity = momentum velocity + decay matrix + outer inner^T.
template <int COLUMNS>
__device__ void multiply_right_and_step(
    double* matrix, double* velocity, const double* outer, const double* inner, double* next,
    double momentum, double decay
) {
    const int lane = threadIdx.x % 32;
    for (int row = threadIdx.x / 32; row < D; row += ROWS * WARPS) {
        double sums[16] = {};
        for (int first = lane; first < COLUMNS; first += 64) {
            // All that is read of memory far away, before any of it is used.
            double values[ROWS][2], speeds[ROWS][2];
            #pragma unroll
            for (int r = 0; r < ROWS; ++r)
                #pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int i = row + r * WARPS, column = first + 32 * half;
                    const bool inside = i < D && column < COLUMNS;
                    speeds[r][half] = inside ? __ldcg(velocity + i * COLUMNS + column) : 0.0;
                    values[r][half] = inside ? matrix[i * COLUMNS + column] : 0.0;
                }
            #pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int column = first + 32 * half;
                if (column >= COLUMNS) break;
                double factors[K];
                #pragma unroll
                for (int k = 0; k < K; ++k) factors[k] = inner[column * K + k];
                #pragma unroll
                for (int r = 0; r < ROWS; ++r) {
                    const int i = row + r * WARPS;
                    if (i >= D) break;
                    double speed = momentum * speeds[r][half] + decay * values[r][half];
                    #pragma unroll
                    for (int k = 0; k < K; ++k) {
                        sums[r * PADDED + k] += factors[k] * values[r][half];
                        speed += outer[i * K + k] * factors[k];
                    }
                    __stcg(velocity + i * COLUMNS + column, speed);
                    matrix[i * COLUMNS + column] = values[r][half] - speed;
                }
            }
        }
        exchange<8>(sums, lane);
        exchange<4>(sums, lane);
        exchange<2>(sums, lane);
        exchange<1>(sums, lane);
        const double sum = sums[0] + __shfl_xor_sync(~0u, sums[0], 16);
        const int i = row + lane / PADDED * WARPS, k = lane % PADDED;
        if (lane < 16 && k < K && i < D) next[i * K + k] = sum;
    }
    __syncthreads();
}

// The bias, whose gradient is the residual times ones: a warp for each output, in turn.
__device__ void step_bias(
    double* bias, double* velocity, const double* residual, const double* ones, double momentum
) {
    const int lane = threadIdx.x % 32;
    for (int k = threadIdx.x / 32; k < K; k += WARPS) {
        double sum = 0;
        for (int column = lane; column < C; column += 32)
            sum += residual[column * K + k] * ones[column];
        #pragma unroll
        for (int distance = 16; distance > 0; distance /= 2)
            sum += __shfl_xor_sync(~0u, sum, distance);
        if (lane == 0) {
            const double speed = momentum * velocity[k] + sum;
            velocity[k] = speed;
            bias[k] -= speed;
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) descend(
    double* position, double* velocity, const double* targets, const double* ones,
    const double* scale, const double* decay, double momentum, int steps, int batch
) {
    extern __shared__ double memory[];
    double* products = memory;  // of M: that behind H, behind W_1, ..., W_M itself
    double* now = products + M * D * K;
    double* next = now + WIDEST * K;
    double* bias = next + WIDEST * K;
    double* parts = bias + K;
    double* last = products + (M - 1) * D * K;
    const int thread = threadIdx.x, problem = blockIdx.x;
    const size_t of_last = start_of_last(problem, batch), of_bias = start_of_bias(problem, batch);
    double *matrices[M], *speeds[M];
    #pragma unroll
    for (int m = 0; m < M; ++m) {
        const int size = m == 0 ? D * C : D * D;
        const size_t from = start_of(m, problem, batch);
        matrices[m] = position + from;
        speeds[m] = velocity + from;
#if SHARED
        double* here = parts + PARTS * K + (m == 0 ? 0 : D * C + (m - 1) * D * D);
        for (int e = thread; e < size; e += THREADS) here[e] = matrices[m][e];
        matrices[m] = here;
#endif
    }
    for (int e = thread; e < K * D; e += THREADS) last[e] = position[of_last + e % K * D + e / K];
#if BIAS
    for (int e = thread; e < K; e += THREADS) bias[e] = position[of_bias + e];
#endif
    const double factor = scale[problem];
    const double* decays = decay + problem * (M + 1);
    __syncthreads();

    for (int step = 0; step < steps; ++step) {
        #pragma unroll
        for (int m = M - 1; m > 0; --m) {
            multiply_left<D>(matrices[m], products + m * D * K, parts);
            for (int e = thread; e < D * K; e += THREADS)
                products[(m - 1) * D * K + e] = gather<D>(parts, e);
            __syncthreads();
        }
        multiply_left<C>(matrices[0], products, parts);
        for (int e = thread; e < C * K; e += THREADS) {
            double output = gather<C>(parts, e);
#if BIAS
            output += bias[e % K] * ones[e / K];
#endif
            now[e] = factor * (output - targets[e % K * C + e / K]);
        }
        __syncthreads();
#if BIAS
        step_bias(bias, velocity + of_bias, now, ones, momentum);
#endif
        multiply_right_and_step<C>(
            matrices[0], speeds[0], products, now, next, momentum, decays[0]);
        #pragma unroll
        for (int m = 1; m < M; ++m) {
            double* before = now;
            now = next;
            next = before;
            multiply_right_and_step<D>(
                matrices[m], speeds[m], products + m * D * K, now, next, momentum, decays[m]);
        }
        for (int e = thread; e < K * D; e += THREADS) {
            double* speed = velocity + of_last + e % K * D + e / K;
            *speed = momentum * *speed + decays[M] * last[e] + next[e];
            last[e] -= *speed;
        }
        __syncthreads();
    }

    for (int e = thread; e < K * D; e += THREADS) position[of_last + e % K * D + e / K] = last[e];
#if BIAS
    for (int e = thread; e < K; e += THREADS) position[of_bias + e] = bias[e];
#endif
#if SHARED
    #pragma unroll
    for (int m = 0; m < M; ++m)
        for (int e = thread; e < D * (m == 0 ? C : D); e += THREADS)
            position[speeds[m] - velocity + e] = matrices[m][e];
#endif
}
"""
