// A block of a CUDA kernel on a CPU: a fiber for each thread. Between barriers warps run one after
// the other, in an order drawn anew each time, and between shuffles the lanes of a warp, so that
// what is read before it is sure to be there gives another result each time.
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct Index {
    int x;
};
static Index threadIdx, blockIdx;

enum Reason { RUNNING, SHUFFLE, BARRIER, DONE };
static std::vector<ucontext_t> fibers;
static std::vector<Reason> reasons;
static ucontext_t scheduler;
static double exchanged[1024], fragments[1024][16];

static void pause(Reason reason) {
    const int me = threadIdx.x;
    reasons[me] = reason;
    swapcontext(&fibers[me], &scheduler);
    threadIdx.x = me;
}
static void __syncthreads() { pause(BARRIER); }
static double __shfl_xor_sync(unsigned, double value, int mask) {
    const int me = threadIdx.x;
    exchanged[me] = value;
    pause(SHUFFLE);
    const double received = exchanged[me ^ mask];
    pause(SHUFFLE);
    return received;
}
static double __ldcg(const double* place) { return *place; }
static void __stcg(double* place, double value) { *place = value; }

// result += left right of a warp, left 16 x INNER, right INNER x 8; who holds which entry is
// described for mma.m16n8k4 and k16 in .f64 in NVIDIA's PTX ISA.
template <int INNER> static void warp_product(double* result, const double* left, const double* right) {
    const int me = threadIdx.x, lane = me % 32, group = lane / 4, member = lane % 4;
    for (int i = 0; i < INNER / 2; ++i) fragments[me][i] = left[i];
    for (int i = 0; i < INNER / 4; ++i) fragments[me][8 + i] = right[i];
    pause(SHUFFLE);
    double a[16][16], b[16][8];
    for (int other = 0; other < 32; ++other) {
        const double* held = fragments[me - lane + other];
        for (int i = 0; i < INNER / 2; ++i)
            a[other / 4 + 8 * (i % 2)][other % 4 + 4 * (i / 2)] = held[i];
        for (int i = 0; i < INNER / 4; ++i) b[other % 4 + 4 * i][other / 4] = held[8 + i];
    }
    for (int i = 0; i < 4; ++i)
        for (int k = 0; k < INNER; ++k)
            result[i] += a[group + 8 * (i / 2)][k] * b[k][2 * member + i % 2];
    pause(SHUFFLE);
}

template <class Body> static void run_block(int threads, int block, const Body& body) {
    static const Body* todo;
    static std::mt19937 random(0);
    todo = &body;
    blockIdx.x = block;
    const size_t size = 1 << 18;
    std::vector<char> stacks(threads * size);
    fibers.assign(threads, {});
    reasons.assign(threads, RUNNING);
    for (int i = 0; i < threads; ++i) {
        getcontext(&fibers[i]);
        fibers[i].uc_stack.ss_sp = stacks.data() + i * size;
        fibers[i].uc_stack.ss_size = size;
        fibers[i].uc_link = &scheduler;
        makecontext(
            &fibers[i], (void (*)()) + [] { (*todo)(); reasons[threadIdx.x] = DONE; }, 0);
    }
    std::vector<int> warps(threads / 32);
    for (int i = 0; i < threads / 32; ++i) warps[i] = i;
    for (bool alive = true; alive;) {
        alive = false;
        std::shuffle(warps.begin(), warps.end(), random);
        for (int warp : warps) {
            int met;
            do {
                met = 0;
                const int twist = random() % 32;
                for (int turn = 0; turn < 32; ++turn) {
                    const int me = 32 * warp + (turn ^ twist);
                    if (reasons[me] != DONE) {
                        threadIdx.x = me;
                        swapcontext(&scheduler, &fibers[me]);
                    }
                    met |= 1 << reasons[me];
                }
            } while (met == 1 << SHUFFLE);
            // The lanes of a warp wait for the same.
            if (met != 1 << BARRIER && met != 1 << DONE) abort();
            alive |= met == 1 << BARRIER;
        }
    }
}
