// Pointwise scores: one pass over labels and predictions gives every sum that they need.
//
// A block takes a run of kRows rows. Float sums reduce over a fixed tree to one row of partial sums a block; counts and
// the sums of probabilities, in fixed point with 40 bits behind the point, are integers and go through shared memory,
// where the order of atomics does not matter. So a result is the same on every device.
#include "common.cuh"

constexpr int kThreads = 256;
constexpr int kRows = 8192;
constexpr int kClassThreads = 128;
constexpr int kWarp = 32;
constexpr double kFixed = 1099511627776.0;  // 2^40

// -log(p) of a positive normal number from portable operations, the same bits as on the CPU: with p = 2^e m, m in
// (sqrt 1/2, sqrt 2] and s = (m - 1) / (m + 1), log p = e ln 2 + 2 (s + s^3 / 3 + ...).
__device__ inline double negative_log(double p) {
  const int64 bits = __double_as_longlong(p);
  double m = __longlong_as_double((bits & 0x000FFFFFFFFFFFFFll) | 0x3FF0000000000000ll);
  double e = double((bits >> 52) - 1023);
  const bool high = m > 1.4142135623730951;
  m = high ? m * 0.5 : m;
  e = high ? e + 1.0 : e;
  const double s = (m - 1.0) / (m + 1.0), z = s * s;
  double q = 1.0 / 23.0;
  q = q * z + 1.0 / 21.0;
  q = q * z + 1.0 / 19.0;
  q = q * z + 1.0 / 17.0;
  q = q * z + 1.0 / 15.0;
  q = q * z + 1.0 / 13.0;
  q = q * z + 1.0 / 11.0;
  q = q * z + 1.0 / 9.0;
  q = q * z + 1.0 / 7.0;
  q = q * z + 1.0 / 5.0;
  q = q * z + 1.0 / 3.0;
  const double tail = 2.0 * s * (z * q) + e * 1.9082149292705877e-10;
  return -(e * 0.6931471803691238 + (2.0 * s + tail));
}

__device__ inline double clipped(double p, double eps) {
  p = p < eps ? eps : p;
  return p > 1.0 - eps ? 1.0 - eps : p;
}

// The bin b with edges[b] < p <= edges[b + 1], where edges end in -inf and inf; a product guesses within one bin.
__device__ inline int bin_of(double p, const double* edges, int bins) {
  double guess = p * bins;
  guess = guess > 0.0 ? guess : 0.0;
  guess = guess < bins - 1.0 ? guess : bins - 1.0;
  int b = int(guess);
  b -= int(p <= edges[b]);
  return b + int(p > edges[b + 1]);
}

__device__ inline void clear(uint64* words, int count) {
  for (int k = threadIdx.x; k < count; k += blockDim.x) words[k] = 0;
  __syncthreads();
}

__device__ inline void add_all(const uint64* words, int count, uint64* out) {
  __syncthreads();
  for (int k = threadIdx.x; k < count; k += blockDim.x)
    if (words[k]) atomicAdd(out + k, words[k]);
}

// floats (blocks, 2): log loss, squared error. words: rows by joint cell (bin, label, predicted) and the fixed-point
// sum of their probabilities, 4 B each, then NaN rows, then rows outside [0, 1].
template <typename T>
__device__ void binary(const unsigned char* labels, const T* proba, int64 rows, const double* edges, int bins,
                       double threshold, double eps, double* floats, uint64* words) {
  DYNAMIC_SHARED(uint64, local);
  __shared__ double scratch[kThreads];
  const int cells = 4 * bins, count = 2 * cells + 2;
  clear(local, count);
  const int64 first = int64(blockIdx.x) * kRows, last = first + kRows < rows ? first + kRows : rows;
  double loss = 0.0, square = 0.0;
  for (int64 i = first + threadIdx.x; i < last; i += kThreads) {
    const double p = double(proba[i]);
    const int label = labels[i] != 0;
    if (p != p) {
      atomicAdd(local + 2 * cells, uint64(1));
      continue;
    }
    if (p < 0.0 || p > 1.0) {
      atomicAdd(local + 2 * cells + 1, uint64(1));
      continue;
    }
    const double apart = double(label) - p;
    square += apart * apart;
    loss += negative_log(clipped(label ? p : 1.0 - p, eps));
    const int cell = (2 * bin_of(p, edges, bins) + label) * 2 + int(p >= threshold);
    atomicAdd(local + cell, uint64(1));
    atomicAdd(local + cells + cell, uint64(p * kFixed + 0.5));
  }
  loss = block_reduce(loss, scratch, Add());
  square = block_reduce(square, scratch, Add());
  if (threadIdx.x == 0) floats[2 * int64(blockIdx.x)] = loss, floats[2 * int64(blockIdx.x) + 1] = square;
  add_all(local, count, words);
}

// A warp takes 32 rows of C probabilities one after the other. floats (blocks, 2); words: rows, correct rows and fixed-point sum of the largest
// probability by its bin, then NaN rows, rows outside [0, 1], rows that do not sum to one.
template <typename T>
__device__ void multiclass(const int64* codes, const T* proba, int64 rows, int classes, const double* edges, int bins,
                           double eps, double tolerance, int64 rows_a_block, double* floats, uint64* words) {
  DYNAMIC_SHARED(uint64, local);
  __shared__ double scratch[kClassThreads];
  const int count = 3 * bins + 3;
  clear(local, count);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64 first = int64(blockIdx.x) * rows_a_block;
  const int64 last = first + rows_a_block < rows ? first + rows_a_block : rows;
  double loss = 0.0, square = 0.0;
  for (int64 group = first + warp * kWarp; group < last; group += kClassThreads) {
    double truth = 1.0;  // lane k keeps the probability of row group + k, so that all lanes take logarithms at once
    for (int64 i = group; i < group + kWarp && i < last; ++i) {
      const T* row = proba + i * classes;
      const int64 code = codes[i];
      double total = 0.0, squares = 0.0, top = -1.0;
      int best = classes, outside = 0;
      for (int c = lane; c < classes; c += kWarp) {
        const double p = double(row[c]), apart = p - double(c == code);
        total += p, squares += apart * apart;
        outside |= int(p < 0.0 || p > 1.0);
        if (p > top) top = p, best = c;
      }
      for (int step = kWarp / 2; step > 0; step /= 2) {
        total += __shfl_xor_sync(0xffffffffu, total, step);
        squares += __shfl_xor_sync(0xffffffffu, squares, step);
        outside |= __shfl_xor_sync(0xffffffffu, outside, step);
        const double other = __shfl_xor_sync(0xffffffffu, top, step);
        const int place = __shfl_xor_sync(0xffffffffu, best, step);
        if (other > top || (other == top && place < best)) top = other, best = place;
      }
      const bool missing = total != total;
      if (lane == 0 && (missing || outside)) atomicAdd(local + 3 * bins + (missing ? 0 : 1), uint64(1));
      if (missing || outside) continue;
      if (lane == i - group) truth = clipped(double(row[code]), eps);
      if (lane == 0) {
        const double off = total > 1.0 ? total - 1.0 : 1.0 - total;
        if (off > tolerance) atomicAdd(local + 3 * bins + 2, uint64(1));
        square += squares;
        const int b = bin_of(top, edges, bins);
        atomicAdd(local + b, uint64(1));
        if (best == code) atomicAdd(local + bins + b, uint64(1));
        atomicAdd(local + 2 * bins + b, uint64(top * kFixed + 0.5));
      }
    }
    loss += negative_log(truth);
  }
  loss = block_reduce(loss, scratch, Add());
  square = block_reduce(square, scratch, Add());
  if (threadIdx.x == 0) floats[2 * int64(blockIdx.x)] = loss, floats[2 * int64(blockIdx.x) + 1] = square;
  add_all(local, count, words);
}

#define SCORES_KERNELS(type, name)                                                                                    \
  extern "C" __global__ void __launch_bounds__(kThreads)                                                              \
      scores_binary_##name(const unsigned char* labels, const type* proba, int64 rows, const double* edges, int bins, \
                           double threshold, double eps, double* floats, uint64* words) {                             \
    binary<type>(labels, proba, rows, edges, bins, threshold, eps, floats, words);                                    \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(kClassThreads, 4)                                                       \
      scores_multiclass_##name(const int64* codes, const type* proba, int64 rows, int classes, const double* edges,   \
                               int bins, double eps, double tolerance, int64 rows_a_block, double* floats,            \
                               uint64* words) {                                                                       \
    multiclass<type>(codes, proba, rows, classes, edges, bins, eps, tolerance, rows_a_block, floats, words);          \
  }

SCORES_KERNELS(float, f32)
SCORES_KERNELS(double, f64)

// floats (blocks, 3): absolute, squared, pinball error; missing: rows with a NaN.
extern "C" __global__ void __launch_bounds__(kThreads)
    scores_regression(const double* y_true, const double* y_pred, int64 rows, double alpha, double* floats,
                      uint64* missing) {
  __shared__ double scratch[kThreads];
  const int64 first = int64(blockIdx.x) * kRows, last = first + kRows < rows ? first + kRows : rows;
  double absolute = 0.0, square = 0.0, pinball = 0.0;
  for (int64 i = first + threadIdx.x; i < last; i += kThreads) {
    const double t = y_true[i], p = y_pred[i], d = t - p;
    if (t != t || p != p) {
      atomicAdd(missing, uint64(1));
      continue;
    }
    absolute += d < 0.0 ? -d : d;
    square += d * d;
    pinball += d >= 0.0 ? alpha * d : (alpha - 1.0) * d;
  }
  absolute = block_reduce(absolute, scratch, Add());
  square = block_reduce(square, scratch, Add());
  pinball = block_reduce(pinball, scratch, Add());
  if (threadIdx.x == 0) {
    double* row = floats + 3 * int64(blockIdx.x);
    row[0] = absolute, row[1] = square, row[2] = pinball;
  }
}

extern "C" __global__ void scores_negative_log(const double* p, int64 rows, double* out) {
  const int64 i = int64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < rows) out[i] = negative_log(p[i]);
}
