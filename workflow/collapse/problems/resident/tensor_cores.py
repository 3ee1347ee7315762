"""CUDA source of the same as `general` for widths that suit the float64 tensor cores."""

SOURCE = r"""
// D is a multiple of 16 and K at most 8; the rest is as in the general form. The position stays in
// shared memory, the velocity of as many columns as a weight has in registers.
//
// A warp owns the tile of 16 rows that its number says, and every LANES-th chunk of 16 columns. In
// tiles a thread (g, t) = (lane / 4, lane % 4) holds rows g + 8 r and columns 8 n + 2 t + e: the
// layout of a product's result, also given to what is multiplied, as any order of the columns that
// are summed over is right.

constexpr int TILES = D / 16, CHUNKS = (C + 15) / 16, PADDED = 16 * CHUNKS;
constexpr int LANES = TILES < 4 ? TILES : 2, WARPS = TILES * LANES, THREADS = 32 * WARPS;
constexpr int TURNS = (TILES + LANES - 1) / LANES;
// Classes, filled up with zeros to whole products.
constexpr int CLASSES = K <= 4 ? 4 : 8, FOURS = CLASSES / 4;
// A row of parts: as wide as the features or a weight, whichever is wider.
constexpr int ROW = PADDED > D ? PADDED : D, PART = CLASSES * ROW;

struct alignas(16) Pair { double x, y; };

// result += left (16 x 16) right (16 x 8), of a warp
__device__ __forceinline__ void multiply(
    double (&result)[4], const double (&left)[8], const double (&right)[4]
) {
    asm("mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {%0, %1, %2, %3},"
        " {%4, %5, %6, %7, %8, %9, %10, %11}, {%12, %13, %14, %15}, {%0, %1, %2, %3};"
        : "+d"(result[0]), "+d"(result[1]), "+d"(result[2]), "+d"(result[3])
        : "d"(left[0]), "d"(left[1]), "d"(left[2]), "d"(left[3]), "d"(left[4]), "d"(left[5]),
          "d"(left[6]), "d"(left[7]), "d"(right[0]), "d"(right[1]), "d"(right[2]), "d"(right[3]));
}
// result += left (16 x 4) right (4 x 8)
__device__ __forceinline__ void multiply_four(
    double (&result)[4], double upper, double lower, double right
) {
    asm("mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64 {%0, %1, %2, %3}, {%4, %5}, {%6},"
        " {%0, %1, %2, %3};"
        : "+d"(result[0]), "+d"(result[1]), "+d"(result[2]), "+d"(result[3])
        : "d"(upper), "d"(lower), "d"(right));
}

// What a row's columns are shuffled by (xor), so that neither a tile nor its transpose meets a bank
// of shared memory twice: only within 16 columns, and alike for rows that are 8 apart.
__device__ __forceinline__ int shuffle(int row) {
    return 8 * ((row ^ (row >> 2)) & 1) + 4 * ((row >> 1) & 1);
}
// Where an entry lies in rows of a multiple of 16.
template <int COLUMNS> __device__ __forceinline__ int at(int row, int column) {
    return COLUMNS * row + (column ^ shuffle(row));
}
__device__ __forceinline__ Pair pair(const double* place) {
    return *reinterpret_cast<const Pair*>(place);
}

// What a warp's lanes left behind: partial sums of CLASSES x ROW, to be added.
__device__ __forceinline__ double summed(const double* parts, int place) {
    double sum = parts[place];
    #pragma unroll
    for (int lane = 1; lane < LANES; ++lane) sum += parts[lane * PART + place];
    return sum;
}
__device__ __forceinline__ Pair summed_pair(const double* parts, int place) {
    Pair sum = pair(parts + place);
    #pragma unroll
    for (int lane = 1; lane < LANES; ++lane) {
        const Pair more = pair(parts + lane * PART + place);
        sum.x += more.x;
        sum.y += more.y;
    }
    return sum;
}

// A thread's place, and where of 16 columns the entries lie that it reads. The others of a tile
// follow by xor 8 and by constants, so that few addresses fill its registers.
struct Place {
    int g, t, tile, lane;
    int pairs;    // row g, columns 2 t and 2 t + 1
    int classes;  // the same of a class, g if there are 8
    int singles;  // row t, column g
    int across;   // row 2 t, column g
};

__device__ Place place_of(int thread) {
    const int g = thread % 32 / 4, t = thread % 4;
    return {
        g, t, thread / 32 % TILES, thread / 32 / TILES,
        2 * t ^ shuffle(g), 2 * t ^ shuffle(g % CLASSES), g ^ shuffle(t), g ^ shuffle(2 * t)};
}

// Leave a warp's result, 16 columns of all classes, in its part.
__device__ __forceinline__ void store(
    const Place& my, double* parts, int columns, const double (&result)[2][4]
) {
    if (2 * my.t >= CLASSES) return;
    parts += my.lane * PART + 2 * my.t * ROW + columns;
    #pragma unroll
    for (int q = 0; q < 4; ++q)
        parts[q % 2 * ROW + (my.across ^ 8 * (q / 2 ^ q % 2))] = result[0][q] + result[1][q];
}

// next = product matrix, in parts. The product is in parts too, and summed into `product`, but the
// last layer's, which lies there.
template <int COLUMNS, bool SUMMED>
__device__ __forceinline__ void multiply_left(
    const Place& my, const double* matrix, double* product, const double* now, double* next
) {
    matrix += 2 * my.t * COLUMNS;
    const int of_class = my.g % CLASSES;
    #pragma unroll
    for (int first = 0; first < COLUMNS / 16; first += TILES) {
        const int columns = 16 * (first + my.tile);
        if (first + TILES > COLUMNS / 16 && columns >= COLUMNS) break;
        double result[2][4] = {};
        #pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {
            const int rows = 16 * (my.lane + turn * LANES);
            // Known where all lanes are within: then what follows is read while this is multiplied.
            if ((turn + 1) * LANES > TILES && rows >= D) break;
            double left[8], right[4];
            #pragma unroll
            for (int n = 0; n < 2; ++n) {
                const int place = (my.classes ^ 8 * n) + rows;
                Pair value;
                if (SUMMED) value = pair(product + of_class * D + place);
                else {
                    value = summed_pair(now, of_class * ROW + place);
                    if (columns < 16)
                        *reinterpret_cast<Pair*>(product + of_class * D + place) = value;
                }
                right[2 * n] = my.g < CLASSES ? value.x : 0.0;
                right[2 * n + 1] = my.g < CLASSES ? value.y : 0.0;
                #pragma unroll
                for (int e = 0; e < 2; ++e)
                    #pragma unroll
                    for (int r = 0; r < 2; ++r)
                        left[4 * n + 2 * e + r] = matrix[
                            (rows + 8 * n + e) * COLUMNS + columns + (my.across ^ 8 * (r ^ e))];
            }
            multiply(result[turn % 2], left, right);
        }
        store(my, next, columns, result);
    }
    __syncthreads();
}

// Where an entry of a tile lies in the features' buffer, below 0 beyond their columns.
__device__ __forceinline__ int far_place(const Place& my, int columns, int i) {
    const int column = columns + 8 * (i / 4) + 2 * my.t + i / 2 % 2;
    return column < C ? (16 * my.tile + my.g + 8 * (i % 2)) * C + column : -1;
}
__device__ __forceinline__ double load_far(const double* far, int place) {
    return place < 0 ? 0.0 : far[place];
}
__device__ __forceinline__ void store_far(double* far, int place, double value) {
    if (place >= 0) far[place] = value;
}

// next = inner matrix^T, in parts; then the step of the matrix, whose gradient is product^T inner.
// Features may have more columns than a weight: the velocity of these is `far`.
template <int COLUMNS>
__device__ __forceinline__ void multiply_right_and_step(
    const Place& my, double* matrix, double (&speeds)[TURNS][8], double* far,
    const double* product, const double* now, double* next, double momentum, double decay
) {
    matrix += (16 * my.tile + my.g) * COLUMNS;
    product += my.t * D + 16 * my.tile;
    double upper[FOURS], lower[FOURS];
    #pragma unroll
    for (int four = 0; four < FOURS; ++four) {
        upper[four] = product[4 * four * D + (my.singles ^ 8 * four)];
        lower[four] = product[4 * four * D + (my.singles ^ 8 * four ^ 8)];
    }
    double result[2][4] = {};
    #pragma unroll
    for (int turn = 0; turn < (COLUMNS / 16 + LANES - 1) / LANES; ++turn) {
        const int columns = 16 * (my.lane + turn * LANES);
        if ((turn + 1) * LANES > COLUMNS / 16 && columns >= COLUMNS) break;
        double left[8], right[4], velocity[8];
        #pragma unroll
        for (int i = 0; i < 8; ++i)
            velocity[i] = turn < TURNS ? speeds[turn < TURNS ? turn : 0][i]
                                       : load_far(far, far_place(my, columns, i));
        #pragma unroll
        for (int n = 0; n < 2; ++n) {
            const Pair value =
                summed_pair(now, my.g % CLASSES * ROW + columns + (my.classes ^ 8 * n));
            right[2 * n] = my.g < CLASSES ? value.x : 0.0;
            right[2 * n + 1] = my.g < CLASSES ? value.y : 0.0;
            #pragma unroll
            for (int r = 0; r < 2; ++r) {
                const Pair entries = pair(matrix + 8 * r * COLUMNS + columns + (my.pairs ^ 8 * n));
                left[4 * n + r] = entries.x;
                left[4 * n + 2 + r] = entries.y;
            }
        }
        multiply(result[turn % 2], left, right);
        #pragma unroll
        for (int n = 0; n < 2; ++n) {
            double speed[4];
            #pragma unroll
            for (int q = 0; q < 4; ++q) {
                const int i = 4 * n + 2 * (q % 2) + q / 2;
                speed[q] = momentum * velocity[i] + decay * left[i];
            }
            #pragma unroll
            for (int four = 0; four < FOURS; ++four)
                multiply_four(speed, upper[four], lower[four],
                    summed(now, (my.t + 4 * four) * ROW + columns
                        + (my.singles ^ 8 * (n ^ four))));
            #pragma unroll
            for (int r = 0; r < 2; ++r) {
                const Pair moved = {
                    left[4 * n + r] - speed[2 * r], left[4 * n + 2 + r] - speed[2 * r + 1]};
                *reinterpret_cast<Pair*>(
                    matrix + 8 * r * COLUMNS + columns + (my.pairs ^ 8 * n)) = moved;
                velocity[4 * n + r] = speed[2 * r];
                velocity[4 * n + 2 + r] = speed[2 * r + 1];
            }
        }
        #pragma unroll
        for (int i = 0; i < 8; ++i)
            if (turn < TURNS) speeds[turn < TURNS ? turn : 0][i] = velocity[i];
            else store_far(far, far_place(my, columns, i), velocity[i]);
    }
    store(my, next, 16 * my.tile, result);
    __syncthreads();
}

// Call visit(where an entry lies here, where in the buffers) for a thread's share of a matrix.
template <class Visit> __device__ void visit_matrix(int m, int problem, int batch, Visit visit) {
    const int columns = m == 0 ? C : D;
    const size_t from = start_of(m, problem, batch);
    for (int e = threadIdx.x; e < D * columns; e += THREADS) {
        const int row = e / columns, column = e % columns;
        visit(m == 0 ? at<PADDED>(row, column) : at<D>(row, column), from + e);
    }
}
// The same of a thread's velocities: visit(turn, number, where in the buffers).
template <class Visit>
__device__ void visit_speeds(const Place& my, int m, int problem, int batch, Visit visit) {
    const int columns = m == 0 ? C : D;
    const size_t from = start_of(m, problem, batch);
    #pragma unroll
    for (int turn = 0; turn < TURNS; ++turn)
        #pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int row = 16 * my.tile + my.g + 8 * (i % 2);
            const int column =
                16 * (my.lane + turn * LANES) + 8 * (i / 4) + 2 * my.t + i / 2 % 2;
            if (column < columns) visit(turn, i, from + (size_t)row * columns + column);
        }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) descend(
    double* position, double* velocity, const double* __restrict__ targets,
    const double* __restrict__ ones, const double* __restrict__ scale,
    const double* __restrict__ decay, double momentum, int steps, int batch
) {
    extern __shared__ __align__(16) double memory[];
    double* features = memory;
    double* squares = features + D * PADDED;
    double* products = squares + (M - 1) * D * D;
    double* now = products + M * CLASSES * D;
    double* next = now + LANES * PART;
    double* last_speed = next + LANES * PART;
    double* bias = last_speed + CLASSES * D;
    double* last = products + (M - 1) * CLASSES * D;
    const int thread = threadIdx.x, problem = blockIdx.x;
    const Place my = place_of(thread);
    const size_t of_last = start_of_last(problem, batch), of_bias = start_of_bias(problem, batch);
    double speeds[M][TURNS][8];

    // What fills up columns and classes is zero, and stays so.
    for (int e = thread; e < bias + K - memory; e += THREADS) memory[e] = 0;
    __syncthreads();
    #pragma unroll
    for (int m = 0; m < M; ++m) {
        double* matrix = m == 0 ? features : squares + (m - 1) * D * D;
        visit_matrix(m, problem, batch, [&](int here, size_t there) {
            matrix[here] = position[there];
        });
        #pragma unroll
        for (int turn = 0; turn < TURNS; ++turn)
            #pragma unroll
            for (int i = 0; i < 8; ++i) speeds[m][turn][i] = 0;
        visit_speeds(my, m, problem, batch, [&](int turn, int i, size_t there) {
            speeds[m][turn][i] = velocity[there];
        });
    }
    for (int e = thread; e < K * D; e += THREADS) {
        last[at<D>(e / D, e % D)] = position[of_last + e];
        last_speed[e] = velocity[of_last + e];
    }
#if BIAS
    for (int e = thread; e < K; e += THREADS) bias[e] = position[of_bias + e];
#endif
    const double factor = scale[problem];
    const double* decays = decay + problem * (M + 1);
    __syncthreads();

    for (int step = 0; step < steps; ++step) {
        #pragma unroll
        for (int m = M - 1; m > 0; --m) {
            const double* matrix = squares + (m - 1) * D * D;
            double* product = products + m * CLASSES * D;
            if (m == M - 1) multiply_left<D, true>(my, matrix, product, now, next);
            else multiply_left<D, false>(my, matrix, product, now, next);
            double* before = now;
            now = next;
            next = before;
        }
        multiply_left<PADDED, M == 1>(my, features, products, now, next);
        for (int e = thread; e < CLASSES * PADDED; e += THREADS) {
            const int k = e / PADDED, column = e % PADDED, place = at<ROW>(k, column);
            const bool inside = k < K && column < C;
            double output = summed(next, place);
#if BIAS
            if (inside) output += bias[k] * ones[column];
#endif
            now[place] = inside ? factor * (output - targets[k * C + column]) : 0.0;
            #pragma unroll
            for (int lane = 1; lane < LANES; ++lane) now[lane * PART + place] = 0;
        }
        __syncthreads();
#if BIAS
        // Its gradient is the residual times ones: a warp for each class, in turn.
        for (int k = thread / 32; k < K; k += WARPS) {
            double sum = 0;
            for (int column = thread % 32; column < C; column += 32)
                sum += now[at<ROW>(k, column)] * ones[column];
            #pragma unroll
            for (int distance = 16; distance > 0; distance /= 2)
                sum += __shfl_xor_sync(~0u, sum, distance);
            if (thread % 32 == 0) {
                const double speed = momentum * velocity[of_bias + k] + sum;
                velocity[of_bias + k] = speed;
                bias[k] -= speed;
            }
        }
#endif
        multiply_right_and_step<PADDED>(
            my, features, speeds[0], velocity + (size_t)problem * D * C, products, now, next,
            momentum, decays[0]);
        #pragma unroll
        for (int m = 1; m < M; ++m) {
            double* before = now;
            now = next;
            next = before;
            multiply_right_and_step<D>(
                my, squares + (m - 1) * D * D, speeds[m], nullptr, products + m * CLASSES * D, now,
                next, momentum, decays[m]);
        }
        for (int e = thread; e < K * D; e += THREADS) {
            const int k = e / D, column = e % D, place = at<D>(k, column);
            const double speed = momentum * last_speed[e] + decays[M] * last[place]
                + summed(next, at<ROW>(k, column));
            last_speed[e] = speed;
            last[place] -= speed;
        }
        __syncthreads();
    }

    #pragma unroll
    for (int m = 0; m < M; ++m) {
        const double* matrix = m == 0 ? features : squares + (m - 1) * D * D;
        visit_matrix(m, problem, batch, [&](int here, size_t there) {
            position[there] = matrix[here];
        });
        visit_speeds(my, m, problem, batch, [&](int turn, int i, size_t there) {
            velocity[there] = speeds[m][turn][i];
        });
    }
    for (int e = thread; e < K * D; e += THREADS) {
        position[of_last + e] = last[at<D>(e / D, e % D)];
        velocity[of_last + e] = last_speed[e];
    }
#if BIAS
    for (int e = thread; e < K; e += THREADS) position[of_bias + e] = bias[e];
#endif
}
"""
