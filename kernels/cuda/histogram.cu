// The histogram primitive: every column in its own bins, one read of the data, integer counts.
//
// Up to 16 edges live in registers: each thread counts x >= edge for all of them, and a block writes once, so there is
// neither an atomic nor shared memory in the inner loop. Beyond, a block keeps edges, a table of cells and counters in
// shared memory, and a value finds its bin through the table; only more than 2048 edges stay outside and are searched by
// halving. Atomics add integers only: their order does not show.
#include "cells.cuh"

constexpr int kThreads = 256;
constexpr int kFew = 16;
constexpr int kFirst = 10;  // edges that every column compares; deciles need no more
constexpr int kShared = 2048;  // edges of 8 bytes, counters of 4 and cells of 2 in shared memory: 28 KB

// counts (columns, width + 2): entry k holds #(x >= edge k) for few edges and the rows of bin k for many; entry `width`
// the rows that are not NaN, and the last entry the rows that are.
template <typename T>
__device__ void few(const uint64* columns, const int64* strides, const int64* sizes, const T* edges,
                    const int64* edge_counts, int width, uint64* counts) {
  __shared__ unsigned scratch[kThreads];
  const int64 column = blockIdx.y;
  const T* x = reinterpret_cast<const T*>(columns[column]);
  const int64 stride = strides[column], size = sizes[column];
  const int used = int(edge_counts[column]);
  T edge[kFew];
  unsigned above[kFew], valid = 0, missing = 0;
  for (int k = 0; k < kFew; ++k) {
    edge[k] = edges[column * width + (k < used ? k : 0)];
    above[k] = 0;
  }
  for (int64 row = int64(blockIdx.x) * kThreads + threadIdx.x; row < size; row += int64(gridDim.x) * kThreads) {
    const T value = x[row * stride];
    const unsigned known = value == value;
    valid += known;
    missing += 1 - known;
#pragma unroll
    for (int k = 0; k < kFirst; ++k) above[k] += value >= edge[k];
    if (used > kFirst) {  // the same for the whole block
#pragma unroll
      for (int k = kFirst; k < kFew; ++k) above[k] += value >= edge[k];
    }
  }
  uint64* out = counts + column * (width + 2);
#pragma unroll
  for (int k = 0; k < kFew; ++k) {
    if (k < used) {
      const unsigned sum = block_reduce(above[k], scratch, Add());
      if (threadIdx.x == 0) atomicAdd(out + k, uint64(sum));
    }
  }
  const unsigned all = block_reduce(valid, scratch, Add()), lost = block_reduce(missing, scratch, Add());
  if (threadIdx.x == 0) {
    atomicAdd(out + width, uint64(all));
    atomicAdd(out + width + 1, uint64(lost));
  }
}

template <typename T>
__device__ void many(const uint64* columns, const int64* strides, const int64* sizes, const T* edges,
                     const int64* edge_counts, int width, const uint16* starts, const double* mappings, int cells,
                     uint64* counts) {
  __shared__ T near_edges[kShared];
  __shared__ unsigned near_counts[kShared + 2];
  __shared__ uint16 near_start[kShared + 1];
  const int64 column = blockIdx.y;
  const T* x = reinterpret_cast<const T*>(columns[column]);
  const int64 stride = strides[column], size = sizes[column];
  const int used = int(edge_counts[column]);
  const bool near = used <= kShared;
  const T* border = edges + column * width;
  uint64* out = counts + column * (width + 2);
  if (near) {
    for (int k = threadIdx.x; k < used; k += kThreads) near_edges[k] = border[k];
    for (int k = threadIdx.x; k < used + 2; k += kThreads) near_counts[k] = 0;
    for (int k = threadIdx.x; k <= cells; k += kThreads) near_start[k] = starts[column * (cells + 1) + k];
  }
  __syncthreads();
  const double low = mappings[2 * column], scale = mappings[2 * column + 1];
  for (int64 row = int64(blockIdx.x) * kThreads + threadIdx.x; row < size; row += int64(gridDim.x) * kThreads) {
    const T value = x[row * stride];
    const bool known = value == value;
    if (near) {
      const int bin = known ? bin_of(value, near_edges, near_start, low, scale, cells) : used + 1;
      atomicAdd(near_counts + bin, 1u);
    } else {
      const int64 bin = known ? run_end(border, int64(0), int64(used), value) : width + 1;
      atomicAdd(out + bin, uint64(1));
    }
  }
  __syncthreads();
  if (near) {
    for (int k = threadIdx.x; k < used + 2; k += kThreads) {
      if (near_counts[k]) atomicAdd(out + (k <= used ? k : width + 1), uint64(near_counts[k]));
    }
  }
}

// Integer codes 0 .. categories - 1; then the codes above, then the negative ones.
template <typename T>
__device__ void codes(const uint64* columns, const int64* strides, const int64* sizes, const int64* categories,
                      int width, uint64* counts) {
  __shared__ unsigned near_counts[kShared + 2];
  const int64 column = blockIdx.y;
  const T* x = reinterpret_cast<const T*>(columns[column]);
  const int64 stride = strides[column], size = sizes[column], used = categories[column];
  const bool near = used <= kShared;
  uint64* out = counts + column * (width + 2);
  if (near) {
    for (int64 k = threadIdx.x; k < used + 2; k += kThreads) near_counts[k] = 0;
  }
  __syncthreads();
  for (int64 row = int64(blockIdx.x) * kThreads + threadIdx.x; row < size; row += int64(gridDim.x) * kThreads) {
    const T code = x[row * stride];
    const int64 place = code < T(0) ? used + 1 : (uint64(code) < uint64(used) ? int64(code) : used);
    if (near) {
      atomicAdd(near_counts + place, 1u);
    } else {
      atomicAdd(out + place, uint64(1));
    }
  }
  __syncthreads();
  if (near) {
    for (int64 k = threadIdx.x; k < used + 2; k += kThreads) {
      if (near_counts[k]) atomicAdd(out + k, uint64(near_counts[k]));
    }
  }
}

#define HISTOGRAM_KERNELS(type, name)                                                                                 \
  extern "C" __global__ void __launch_bounds__(kThreads, 2)                                                           \
      histogram_few_##name(const uint64* columns, const int64* strides, const int64* sizes, const type* edges,        \
                           const int64* edge_counts, int width, uint64* counts) {                                     \
    few<type>(columns, strides, sizes, edges, edge_counts, width, counts);                                            \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(kThreads)                                                              \
      histogram_many_##name(const uint64* columns, const int64* strides, const int64* sizes, const type* edges,       \
                            const int64* edge_counts, int width, const uint16* starts, const double* mappings,        \
                            int cells, uint64* counts) {                                                              \
    many<type>(columns, strides, sizes, edges, edge_counts, width, starts, mappings, cells, counts);                  \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(kThreads)                                                              \
      histogram_table_##name(const type* edges, const int64* edge_counts, int width, int cells, uint16* starts,       \
                             double* mappings) {                                                                      \
    const int64 column = blockIdx.x;                                                                                  \
    const int used = int(edge_counts[column]);                                                                        \
    fill_table<type>(edges + column * width, used <= kShared ? used : 0, cells, starts + column * (cells + 1),        \
                     mappings + 2 * column);                                                                          \
  }

HISTOGRAM_KERNELS(float, f32)
HISTOGRAM_KERNELS(double, f64)
HISTOGRAM_KERNELS(int64, i64)
HISTOGRAM_KERNELS(uint64, u64)

extern "C" __global__ void __launch_bounds__(kThreads)
    histogram_codes_i64(const uint64* columns, const int64* strides, const int64* sizes, const int64* categories,
                        int width, uint64* counts) {
  codes<int64>(columns, strides, sizes, categories, width, counts);
}
extern "C" __global__ void __launch_bounds__(kThreads)
    histogram_codes_u64(const uint64* columns, const int64* strides, const int64* sizes, const int64* categories,
                        int width, uint64* counts) {
  codes<uint64>(columns, strides, sizes, categories, width, counts);
}
