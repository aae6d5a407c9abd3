// The extremes of D(z) = m F(z) - n G(z) for a sorted reference column against an unsorted live one, exact under ties.
//
// 1. fit     splitters on reference quantiles, the reference rows below each, and a table that finds the bin of a value
// 2. count   live rows by bin: one read of the live column
// 3. bound   D is exact at every splitter; inside a bin the reference rows of the bin bound it from above and the live
//            rows from below. Bins that cannot beat the best splitter are done with
// 4. mark    second read: each live row of a surviving bin finds its place among the few hundred reference rows there
// 5. settle  a scan along the reference rows of the surviving bins: between two reference values D only falls, so its
//            maximum lies at one and its minimum just before one
//
// Nothing is sorted, no size depends on the data, and all sums are integers: neither the host nor the order of threads
// has a say. A value that fills two quantiles has a bin to itself, which a splitter settles: ties never survive.
#include "cells.cuh"

constexpr int kThreads = 1024;  // count and mark: the tables of a column fill the shared memory of one block
constexpr int kBound = 256;
constexpr int kSettle = 128;

__device__ inline float next_up(float v) {
  if (v == 0.0f) return __int_as_float(1);
  const int bits = __float_as_int(v);
  return v - v == 0.0f ? __int_as_float(v > 0.0f ? bits + 1 : bits - 1) : (v > 0.0f ? v : __int_as_float(bits - 1));
}
__device__ inline double next_up(double v) {
  if (v == 0.0) return __longlong_as_double(1);
  const int64 bits = __double_as_longlong(v);
  return v - v == 0.0 ? __longlong_as_double(v > 0.0 ? bits + 1 : bits - 1)
                      : (v > 0.0 ? v : __longlong_as_double(bits - 1));
}
__device__ inline int64 next_up(int64 v) { return v < 0x7fffffffffffffffll ? v + 1 : v; }
__device__ inline uint64 next_up(uint64 v) { return v < 0xffffffffffffffffull ? v + 1 : v; }

// splitters (columns, k), ascending; below (columns, k + 2): the reference rows below each of the k + 1 bins, then n.
template <typename T>
__device__ void fit(const uint64* columns, const int64* ns, int k, T* splitters, int64* below) {
  const int64 column = blockIdx.y, n = ns[column];
  const T* x = reinterpret_cast<const T*>(columns[column]);
  const int index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= k) return;
  T splitter = T(0);
  if (n > 0) {
    splitter = x[index * n / k];
    if (index > 0 && x[(index - 1) * n / k] == splitter) splitter = next_up(splitter);
  }
  splitters[column * k + index] = splitter;
  below[column * (k + 2) + index + 1] = lower_bound(x, int64(0), n, splitter);
  if (index == 0) below[column * (k + 2)] = 0, below[column * (k + 2) + k + 1] = n;
}

template <typename T>
__device__ void count(const uint64* columns, const int64* strides, const int64* sizes, const uint64* splitters,
                      const uint64* starts, const uint64* mappings, int k, int cells, uint64* counts) {
  DYNAMIC_SHARED(T, near_splitters);
  unsigned* near_counts = reinterpret_cast<unsigned*>(near_splitters + k);
  uint16* near_start = reinterpret_cast<uint16*>(near_counts + k + 2);
  const int64 column = blockIdx.y, stride = strides[column], size = sizes[column];
  const T* x = reinterpret_cast<const T*>(columns[column]);
  const T* splitter = reinterpret_cast<const T*>(splitters[column]);
  const uint16* start = reinterpret_cast<const uint16*>(starts[column]);
  const double* mapping = reinterpret_cast<const double*>(mappings[column]);
  const double low = mapping[0], scale = mapping[1];
  for (int i = threadIdx.x; i < k; i += blockDim.x) near_splitters[i] = splitter[i];
  for (int i = threadIdx.x; i < k + 2; i += blockDim.x) near_counts[i] = 0;
  for (int i = threadIdx.x; i <= cells; i += blockDim.x) near_start[i] = start[i];
  __syncthreads();
  const int64 step = int64(gridDim.x) * blockDim.x;
  for (int64 row = int64(blockIdx.x) * blockDim.x + threadIdx.x; row < size; row += step) {
    const T value = x[row * stride];
    const int bin = value == value ? bin_of(value, near_splitters, near_start, low, scale, cells) : k + 1;
    atomicAdd(near_counts + bin, 1u);
  }
  __syncthreads();
  uint64* out = counts + column * (k + 2);
  for (int i = threadIdx.x; i < k + 2; i += blockDim.x) {
    if (near_counts[i]) atomicAdd(out + i, uint64(near_counts[i]));
  }
}

// One block a column. counts (columns, k + 2): live rows by bin, then NaN. right (columns, k + 2) as `below`; extremes
// (columns, 2): the best splitters; survives (columns, words): a bit a bin; alive (columns): whether any bit is set.
__device__ void bound(const uint64* belows, const uint64* counts, int k, int both, int64* right, int64* extremes,
                      unsigned* survives, int* alive) {
  __shared__ int64 scratch[kBound];
  __shared__ int any;
  const int64 column = blockIdx.x;
  const int bins = k + 1, words = (bins + 31) / 32, t = threadIdx.x;
  const int64* left = reinterpret_cast<const int64*>(belows[column]);
  const uint64* count = counts + column * (k + 2);
  right += column * (k + 2);
  const int share = (bins + kBound - 1) / kBound, first = t * share, last = min(first + share, bins);
  int64 rows = 0;
  for (int b = first; b < last; ++b) rows += int64(count[b]);
  int64 running = block_scan(rows, scratch) - rows;
  for (int b = first; b < last; ++b) {
    right[b] = running;
    running += int64(count[b]);
  }
  const int64 m = block_reduce(rows, scratch, Add()), n = left[bins];
  if (t == 0) right[bins] = m, any = 0;
  __syncthreads();
  int64 d_max = 0, d_min = 0;
  for (int b = t; b < bins; b += kBound) {
    const int64 d = left[b] * m - right[b] * n;
    d_max = d > d_max ? d : d_max;
    d_min = d < d_min ? d : d_min;
  }
  d_max = block_reduce(d_max, scratch, Larger());
  d_min = block_reduce(d_min, scratch, Smaller());
  // Kolmogorov-Smirnov needs only the larger of the two
  const int64 highest = both ? d_max : (d_max > -d_min ? d_max : -d_min), lowest = both ? d_min : -highest;
  for (int word = t; word < words; word += kBound) {
    unsigned bits = 0;
    for (int b = word * 32; b < min(word * 32 + 32, bins); ++b) {
      const bool mixed = left[b + 1] > left[b] && right[b + 1] > right[b];
      const bool above = left[b + 1] * m - right[b] * n > highest, below = left[b] * m - right[b + 1] * n < lowest;
      if (mixed && (above || below)) bits |= 1u << (b % 32);
    }
    survives[column * words + word] = bits;
    if (bits) any = 1;
  }
  __syncthreads();
  if (t == 0) extremes[2 * column] = d_max, extremes[2 * column + 1] = d_min, alive[column] = any;
}

// marks: two counters a reference row of each column from offsets[column] on; live rows in the gap before it, and equal.
__device__ void clear(const uint64* belows, const unsigned* survives, const int* alive, int k, const int64* offsets,
                      unsigned* marks) {
  const int64 column = blockIdx.y;
  if (!alive[column]) return;
  const int words = (k + 32) / 32;
  const int64* left = reinterpret_cast<const int64*>(belows[column]);
  for (int word = blockIdx.x; word < words; word += gridDim.x) {
    const unsigned bits = survives[column * words + word];
    for (int b = word * 32; bits >> (b % 32) && b < word * 32 + 32; ++b) {
      if (!(bits >> (b % 32) & 1u)) continue;
      for (int64 i = 2 * left[b] + threadIdx.x; i < 2 * left[b + 1]; i += blockDim.x) marks[2 * offsets[column] + i] = 0;
    }
  }
}

template <typename T>
__device__ void mark(const uint64* columns, const int64* strides, const int64* sizes, const uint64* references,
                     const uint64* splitters, const uint64* starts, const uint64* mappings, const uint64* belows,
                     const unsigned* survives, const int* alive, int k, int cells, const int64* offsets,
                     unsigned* marks) {
  DYNAMIC_SHARED(T, near_splitters);
  unsigned* near_survives = reinterpret_cast<unsigned*>(near_splitters + k);
  const int64 column = blockIdx.y, stride = strides[column], size = sizes[column];
  if (!alive[column]) return;  // the same for the whole block
  const int words = (k + 32) / 32;
  uint16* near_start = reinterpret_cast<uint16*>(near_survives + words);
  const T* x = reinterpret_cast<const T*>(columns[column]);
  const T* reference = reinterpret_cast<const T*>(references[column]);
  const T* splitter = reinterpret_cast<const T*>(splitters[column]);
  const uint16* start = reinterpret_cast<const uint16*>(starts[column]);
  const double* mapping = reinterpret_cast<const double*>(mappings[column]);
  const int64* left = reinterpret_cast<const int64*>(belows[column]);
  const double low = mapping[0], scale = mapping[1];
  for (int i = threadIdx.x; i < k; i += blockDim.x) near_splitters[i] = splitter[i];
  for (int i = threadIdx.x; i < words; i += blockDim.x) near_survives[i] = survives[column * words + i];
  for (int i = threadIdx.x; i <= cells; i += blockDim.x) near_start[i] = start[i];
  __syncthreads();
  const int64 step = int64(gridDim.x) * blockDim.x;
  for (int64 row = int64(blockIdx.x) * blockDim.x + threadIdx.x; row < size; row += step) {
    const T value = x[row * stride];
    if (!(value == value)) continue;
    const int bin = bin_of(value, near_splitters, near_start, low, scale, cells);
    if (!(near_survives[bin / 32] >> (bin % 32) & 1u)) continue;
    const int64 end = left[bin + 1], place = lower_bound(reference, left[bin], end, value);
    // behind the last reference row of the bin D is what it is at the next splitter
    if (place < end) atomicAdd(marks + 2 * (offsets[column] + place) + (reference[place] == value ? 1 : 0), 1u);
  }
}

template <typename T>
__device__ void settle(const uint64* references, const uint64* belows, const int64* right, const unsigned* survives,
                       const int* alive, int k, const int64* offsets, const unsigned* marks, int64* extremes) {
  __shared__ int64 scratch[kSettle];
  const int64 column = blockIdx.y;
  if (!alive[column]) return;
  const int bins = k + 1, words = (k + 32) / 32;
  const T* x = reinterpret_cast<const T*>(references[column]);
  const int64* left = reinterpret_cast<const int64*>(belows[column]);
  right += column * (k + 2);
  const int64 n = left[bins], m = right[bins];
  const unsigned* mark = marks + 2 * offsets[column];
  int64 d_max = 0, d_min = 0;
  for (int word = blockIdx.x; word < words; word += gridDim.x) {
    const unsigned bits = survives[column * words + word];
    for (int b = word * 32; b < word * 32 + 32; ++b) {
      if (!(bits >> (b % 32) & 1u)) continue;
      int64 seen = right[b];
      for (int64 tile = left[b]; tile < left[b + 1]; tile += kSettle) {
        const int64 i = tile + threadIdx.x;
        const bool inside = i < left[b + 1];
        const int64 gap = inside ? mark[2 * i] : 0, equal = inside ? mark[2 * i + 1] : 0;
        const int64 upto = seen + block_scan(gap + equal, scratch);
        if (inside) {
          const int64 at = (i + 1) * m - upto * n;  // right at the last of a tie group, too small before it
          d_max = at > d_max ? at : d_max;
          if (i == left[b] || x[i - 1] < x[i]) {  // the first of a tie group, which holds its marks
            const int64 before = i * m - (upto - equal) * n;
            d_min = before < d_min ? before : d_min;
          }
        }
        seen += block_reduce(gap + equal, scratch, Add());
      }
    }
  }
  d_max = block_reduce(d_max, scratch, Larger());
  d_min = block_reduce(d_min, scratch, Smaller());
  if (threadIdx.x == 0) {
    atomicMax(extremes + 2 * column, d_max);
    atomicMin(extremes + 2 * column + 1, d_min);
  }
}

extern "C" __global__ void __launch_bounds__(kBound)
    splitter_bound(const uint64* belows, const uint64* counts, int k, int both, int64* right, int64* extremes,
                   unsigned* survives, int* alive) {
  bound(belows, counts, k, both, right, extremes, survives, alive);
}
extern "C" __global__ void __launch_bounds__(kSettle)
    splitter_clear(const uint64* belows, const unsigned* survives, const int* alive, int k, const int64* offsets,
                   unsigned* marks) {
  clear(belows, survives, alive, k, offsets, marks);
}

#define SPLITTER_KERNELS(type, name)                                                                                  \
  extern "C" __global__ void __launch_bounds__(kBound)                                                                \
      splitter_fit_##name(const uint64* columns, const int64* ns, int k, type* splitters, int64* below) {             \
    fit<type>(columns, ns, k, splitters, below);                                                                      \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(kBound)                                                                \
      splitter_table_##name(const type* splitters, int k, int cells, uint16* start, double* mapping) {              \
    const int64 column = blockIdx.x;                                                                                  \
    fill_table<type>(splitters + column * k, k, cells, start + column * (cells + 1), mapping + 2 * column);           \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(kThreads, 1)                                                            \
      splitter_count_##name(const uint64* columns, const int64* strides, const int64* sizes, const uint64* splitters, \
                            const uint64* starts, const uint64* mappings, int k, int cells, uint64* counts) {         \
    count<type>(columns, strides, sizes, splitters, starts, mappings, k, cells, counts);                              \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(kThreads, 1)                                                            \
      splitter_mark_##name(const uint64* columns, const int64* strides, const int64* sizes, const uint64* references, \
                           const uint64* splitters, const uint64* starts, const uint64* mappings,                     \
                           const uint64* belows, const unsigned* survives, const int* alive, int k, int cells,        \
                           const int64* offsets, unsigned* marks) {                                                   \
    mark<type>(columns, strides, sizes, references, splitters, starts, mappings, belows, survives, alive, k, cells,   \
               offsets, marks);                                                                                       \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(kSettle)                                                               \
      splitter_settle_##name(const uint64* references, const uint64* belows, const int64* right,                      \
                             const unsigned* survives, const int* alive, int k, const int64* offsets,                 \
                             const unsigned* marks, int64* extremes) {                                                \
    settle<type>(references, belows, right, survives, alive, k, offsets, marks, extremes);                            \
  }

SPLITTER_KERNELS(float, f32)
SPLITTER_KERNELS(double, f64)
SPLITTER_KERNELS(int64, i64)
SPLITTER_KERNELS(uint64, u64)
