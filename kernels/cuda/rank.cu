// The rank primitive: sums over the merge of two sorted columns, many columns a launch, exact under ties.
//
// The merged sequence of a column is cut into tiles along its diagonals, and a tile into one piece a thread. Every cut
// moves left to the start of the tie group it falls into, so a group lies in one piece whole, however long it is.
// Pieces reduce over a fixed tree to one row of partial sums a tile, and tiles to one row a column: no atomics, so the
// result depends neither on the order of threads nor on the device.
#include "common.cuh"

constexpr int kThreads = 128;
constexpr int kItems = 8;
constexpr int kTile = kThreads * kItems;
constexpr int kCache = 2 * kTile;  // values of a tile that fit shared memory; a tile longer by ties reads global memory

// Columns of the sums that one tile writes.
constexpr int kIntegers = 3;  // d_max, d_min, u2
constexpr int kFloats = 6;    // wasserstein, energy, squares, correction, ad, tie_cubes

struct Cut {
  int64 i, j;
};

// Where the diagonal i + j = d crosses the merge of x[0:n] and y[0:m], moved left to the start of a tie group.
template <typename T>
__device__ Cut cut_at(const T* x, int64 n, const T* y, int64 m, int64 d) {
  if (d <= 0) return {0, 0};
  if (d >= n + m) return {n, m};
  int64 low = d > m ? d - m : 0, high = d < n ? d : n;
  while (low < high) {  // most x first: x[i] <= y[d - i - 1] means that x[i] comes before the diagonal
    const int64 i = low + (high - low) / 2;
    if (x[i] <= y[d - i - 1]) {
      low = i + 1;
    } else {
      high = i;
    }
  }
  int64 i = low, j = d - low;
  T z;
  if (i < n && (j == m || x[i] <= y[j])) {
    z = x[i];
  } else {
    z = y[j];
  }
  return {lower_bound(x, int64(0), i, z), lower_bound(y, int64(0), j, z)};
}

struct Sums {
  int64 d_max, d_min, u2;
  double value[kFloats];
};

// Add the groups of x[i:i_end] and y[j:j_end] to the sums. `x` and `y` start at offsets (i0, j0) of whole columns with
// n and m values; `before` is the largest value left of the piece, if there is one.
template <typename T>
__device__ void walk(const T* x, int64 i, int64 i_end, const T* y, int64 j, int64 j_end, int64 i0, int64 j0, int64 n,
                     int64 m, bool any_before, T before, bool full, Sums& sums) {
  const double fn = double(n), fm = double(m), total = fn + fm, inverse = 1.0 / (fn * fm);
  int64 d0 = (i0 + i) * m - (j0 + j) * n;
  while (i < i_end || j < j_end) {
    const T z = (i < i_end && (j == j_end || x[i] <= y[j])) ? x[i] : y[j];
    const int64 i1 = run_end(x, i, i_end, z), j1 = run_end(y, j, j_end, z);
    const int64 d1 = (i0 + i1) * m - (j0 + j1) * n;
    sums.d_max = d1 > sums.d_max ? d1 : sums.d_max;
    sums.d_min = d1 < sums.d_min ? d1 : sums.d_min;
    sums.u2 += (j1 - j) * (2 * i0 + i + i1);
    if (full) {
      const double a = double(d0), b = double(d1), f = double(i1 - i), g = double(j1 - j), size = f + g;
      const double width = (any_before && d0 != 0) ? gap(z, before) : 0.0;
      const double share = (a < 0 ? -a : a) * inverse;
      const double below = double(i0 + i + j0 + j) + 0.5 * size;
      const double spread = below * (total - below) - 0.25 * total * size, middle = 0.5 * (a + b);
      sums.value[0] += share * width;
      sums.value[1] += share * share * width;
      sums.value[2] += size * (a * a + a * b + b * b) / 3.0;
      sums.value[3] += fn * f * (f * f - 1.0 - g * g) + fm * g * (g * g - 1.0 - f * f);
      sums.value[4] += spread > 0.0 ? size * middle * middle / spread : 0.0;
      sums.value[5] += size * size * size - size;
    }
    i = i1, j = j1, d0 = d1, before = z, any_before = true;
  }
}

template <typename T>
__device__ void tile(const uint64* x_columns, const uint64* y_columns, const int64* ns, const int64* ms, int64 tiles,
                     int full, int64* integers, double* floats) {
  __shared__ T cached[kCache];
  __shared__ int64 cut_i[kThreads + 1], cut_j[kThreads + 1];
  __shared__ int64 scratch_integer[kThreads];
  __shared__ double scratch_float[kThreads];
  const int64 column = blockIdx.y, index = blockIdx.x;
  const unsigned t = threadIdx.x;
  const T* x = reinterpret_cast<const T*>(x_columns[column]);
  const T* y = reinterpret_cast<const T*>(y_columns[column]);
  const int64 n = ns[column], m = ms[column];
  Sums sums = {0, 0, 0, {0.0, 0.0, 0.0, 0.0, 0.0, 0.0}};
  if (n > 0 && m > 0 && index * kTile < n + m) {
    if (t < 2) {  // the two ends of the tile
      const Cut end = cut_at(x, n, y, m, (index + t) * kTile);
      cut_i[t * kThreads] = end.i, cut_j[t * kThreads] = end.j;
    }
    __syncthreads();
    const int64 i0 = cut_i[0], j0 = cut_j[0];
    const int64 rows_x = cut_i[kThreads] - i0, rows_y = cut_j[kThreads] - j0;
    const T* from_x = x + i0;
    const T* from_y = y + j0;
    if (rows_x + rows_y <= kCache) {
      for (int64 k = t; k < rows_x; k += kThreads) cached[k] = from_x[k];
      for (int64 k = t; k < rows_y; k += kThreads) cached[rows_x + k] = from_y[k];
      from_x = cached, from_y = cached + rows_x;
    }
    __syncthreads();
    const int64 length = (rows_x + rows_y + kThreads - 1) / kThreads;
    const Cut start = cut_at(from_x, rows_x, from_y, rows_y, int64(t) * length);
    cut_i[t] = start.i, cut_j[t] = start.j;  // thread 0 writes 0, and every thread has read the ends
    if (t == 0) cut_i[kThreads] = rows_x, cut_j[kThreads] = rows_y;
    __syncthreads();
    const int64 i = start.i, j = start.j, global_i = i0 + i, global_j = j0 + j;
    T before = T(0);
    if (global_i > 0) before = x[global_i - 1];
    if (global_j > 0 && (global_i == 0 || y[global_j - 1] > before)) before = y[global_j - 1];
    walk(from_x, i, cut_i[t + 1], from_y, j, cut_j[t + 1], i0, j0, n, m, global_i + global_j > 0, before, full != 0,
         sums);
  }
  const int64 row = column * tiles + index;
  const int64 d_max = block_reduce(sums.d_max, scratch_integer, Larger());
  const int64 d_min = block_reduce(sums.d_min, scratch_integer, Smaller());
  const int64 u2 = block_reduce(sums.u2, scratch_integer, Add());
  if (t == 0) {
    integers[row * kIntegers] = d_max;
    integers[row * kIntegers + 1] = d_min;
    integers[row * kIntegers + 2] = u2;
  }
  for (int k = 0; full && k < kFloats; ++k) {
    const double sum = block_reduce(sums.value[k], scratch_float, Add());
    if (t == 0) floats[row * kFloats + k] = sum;
  }
}

// Placements: u2, and both sums of squares in words of 32 bits. One thread walks one piece, as above.
template <typename T>
__device__ void placements(const uint64* x_columns, const uint64* y_columns, const int64* ns, const int64* ms,
                           int64 tiles, int64* words) {
  __shared__ int64 scratch[kThreads];
  const int64 column = blockIdx.y, index = blockIdx.x;
  const T* x = reinterpret_cast<const T*>(x_columns[column]);
  const T* y = reinterpret_cast<const T*>(y_columns[column]);
  const int64 n = ns[column], m = ms[column];
  int64 sums[5] = {0, 0, 0, 0, 0};
  const int64 piece = (index * kThreads + threadIdx.x) * kItems;
  if (piece < n + m) {
    const Cut start = cut_at(x, n, y, m, piece), end = cut_at(x, n, y, m, piece + kItems);
    int64 i = start.i, j = start.j;
    while (i < end.i || j < end.j) {
      const T z = (i < end.i && (j == end.j || x[i] <= y[j])) ? x[i] : y[j];
      const int64 i1 = run_end(x, i, end.i, z), j1 = run_end(y, j, end.j, z);
      const int64 p = i + i1, q = 2 * m - j - j1;
      sums[0] += (j1 - j) * p;
      for (int side = 0; side < 2; ++side) {
        const int64 placement = side == 0 ? p : q, size = side == 0 ? j1 - j : i1 - i;
        const uint64 square = uint64(placement) * uint64(placement);
        const uint64 low = uint64(size) * (square & 0xffffffffull);
        sums[1 + 2 * side] += int64(uint64(size) * (square >> 32) + (low >> 32));
        sums[2 + 2 * side] += int64(low & 0xffffffffull);
      }
      i = i1, j = j1;
    }
  }
  for (int k = 0; k < 5; ++k) {
    const int64 sum = block_reduce(sums[k], scratch, Add());
    if (threadIdx.x == 0) words[(column * tiles + index) * 5 + k] = sum;
  }
}

// Rows of partial sums -> one row a column, in a fixed order: thread t adds tiles t, t + 128, ...
template <typename T>
__device__ void fold(const T* partial, int64 tiles, int width, int larger, int smaller, T* result) {
  __shared__ T scratch[kThreads];
  const int64 column = blockIdx.y;
  const int field = blockIdx.x;
  T sum = T(0), most = T(0), least = T(0);
  for (int64 row = threadIdx.x; row < tiles; row += kThreads) {
    const T value = partial[(column * tiles + row) * width + field];
    sum += value;
    most = value > most ? value : most;
    least = value < least ? value : least;
  }
  T folded;
  if (field == larger) {
    folded = block_reduce(most, scratch, Larger());
  } else if (field == smaller) {
    folded = block_reduce(least, scratch, Smaller());
  } else {
    folded = block_reduce(sum, scratch, Add());
  }
  if (threadIdx.x == 0) result[field * int64(gridDim.y) + column] = folded;
}

extern "C" __global__ void rank_fold_i64(const int64* partial, int64 tiles, int width, int larger, int smaller,
                                         int64* result) {
  fold(partial, tiles, width, larger, smaller, result);
}
extern "C" __global__ void rank_fold_f64(const double* partial, int64 tiles, int width, double* result) {
  fold(partial, tiles, width, -1, -1, result);
}

// The values of sorted columns at floor(k n / parts), k = 0 .. parts, and the rows below and up to each; 0 without rows.
template <typename T>
__device__ void pick(const uint64* columns, const int64* ns, int parts, T* values, int64* below, int64* upto) {
  const int64 column = blockIdx.y, n = ns[column];
  const T* x = reinterpret_cast<const T*>(columns[column]);
  const int k = blockIdx.x * blockDim.x + threadIdx.x;
  if (k > parts) return;
  const int64 out = column * (parts + 1) + k;
  values[out] = T(0), below[out] = 0, upto[out] = 0;
  if (n > 0) {
    const int64 position = k < parts ? k * n / parts : n - 1;
    values[out] = x[position];
    below[out] = lower_bound(x, int64(0), position, x[position]);
    upto[out] = run_end(x, position, n, x[position]);
  }
}

__device__ inline float missing_value(float) { return __int_as_float(0x7fc00000); }  // positive: sorts behind +inf
__device__ inline double missing_value(double) { return __longlong_as_double(0x7ff8000000000000ll); }
__device__ inline int64 missing_value(int64 v) { return v; }
__device__ inline uint64 missing_value(uint64 v) { return v; }

// Copy columns of any stride, -0.0 as 0.0 and every NaN as the same one, and count NaN into `lost`.
template <typename T>
__device__ void prepare(const uint64* columns, const int64* strides, const int64* sizes, const uint64* results,
                        uint64* lost) {
  __shared__ uint64 scratch[kThreads];
  const int64 column = blockIdx.y, stride = strides[column], size = sizes[column];
  const T* from = reinterpret_cast<const T*>(columns[column]);
  T* to = reinterpret_cast<T*>(results[column]);
  uint64 missing = 0;
  for (int64 row = int64(blockIdx.x) * kThreads + threadIdx.x; row < size; row += int64(gridDim.x) * kThreads) {
    const T value = from[row * stride];
    const bool known = value == value;
    to[row] = known ? value + T(0) : missing_value(value);
    missing += !known;
  }
  missing = block_reduce(missing, scratch, Add());
  if (threadIdx.x == 0 && missing) atomicAdd(lost + column, missing);
}

// As `prepare`, in ascending order with NaN at the end, for columns of at most `capacity` values, one block a column in
// shared memory; `capacity` is a power of 2 and `top` the largest value of the type, which stands in for NaN meanwhile.
template <typename T>
__device__ void sort_block(const uint64* columns, const int64* strides, const int64* sizes, int capacity, T top,
                           const uint64* results, uint64* lost) {
  DYNAMIC_SHARED(T, values);
  __shared__ int missing;
  const int64 column = blockIdx.x, stride = strides[column];
  const T* from = reinterpret_cast<const T*>(columns[column]);
  T* to = reinterpret_cast<T*>(results[column]);
  const int size = int(sizes[column]);
  if (threadIdx.x == 0) missing = 0;
  __syncthreads();
  for (int k = threadIdx.x; k < capacity; k += blockDim.x) {
    const T value = k < size ? from[k * stride] : top;
    const bool known = value == value;
    values[k] = known ? value + T(0) : top;
    if (!known) atomicAdd(&missing, 1);
  }
  for (int run = 2; run <= capacity; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int k = threadIdx.x; k < capacity; k += blockDim.x) {
        const int other = k ^ step;
        if (other > k) {
          const T a = values[k], b = values[other];
          const bool ascending = (k & run) == 0;
          if (ascending ? b < a : a < b) values[k] = b, values[other] = a;
        }
      }
    }
  }
  __syncthreads();
  for (int k = threadIdx.x; k < size; k += blockDim.x) to[k] = k < size - missing ? values[k] : missing_value(top);
  if (threadIdx.x == 0) lost[column] = uint64(missing);
}

#define RANK_KERNELS(type, name)                                                                                      \
  extern "C" __global__ void __launch_bounds__(kThreads)                                                              \
      rank_tiles_##name(const uint64* x, const uint64* y, const int64* n, const int64* m, int64 tiles, int full,      \
                        int64* integers, double* floats) {                                                            \
    tile<type>(x, y, n, m, tiles, full, integers, floats);                                                            \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(kThreads)                                                              \
      rank_placements_##name(const uint64* x, const uint64* y, const int64* n, const int64* m, int64 tiles,           \
                             int64* words) {                                                                          \
    placements<type>(x, y, n, m, tiles, words);                                                                       \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(kThreads)                                                              \
      rank_pick_##name(const uint64* columns, const int64* ns, int parts, type* values, int64* below, int64* upto) {  \
    pick<type>(columns, ns, parts, values, below, upto);                                                              \
  }                                                                                                                   \
  extern "C" __global__ void __launch_bounds__(kThreads)                                                              \
      rank_prepare_##name(const uint64* columns, const int64* strides, const int64* sizes, const uint64* results,     \
                          uint64* lost) {                                                                             \
    prepare<type>(columns, strides, sizes, results, lost);                                                            \
  }                                                                                                                   \
  extern "C" __global__ void rank_sort_##name(const uint64* columns, const int64* strides, const int64* sizes,        \
                                              int capacity, type top, const uint64* results, uint64* lost) {          \
    sort_block<type>(columns, strides, sizes, capacity, top, results, lost);                                          \
  }

RANK_KERNELS(float, f32)
RANK_KERNELS(double, f64)
RANK_KERNELS(int64, i64)
RANK_KERNELS(uint64, u64)
