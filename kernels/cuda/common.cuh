// Shared by the sources of this folder: fixed-order reductions over a block, and searches in sorted columns.
//
// Compiled by NVRTC on a GPU, and by g++ over a host shim in tests: no CUDA headers, no inline PTX.
#pragma once

typedef long long int64;
typedef unsigned long long uint64;

// Dynamic shared memory under one name on both sides.
#ifdef TIDEGATE_HOST_SHIM
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(shim::dynamic_shared.data())
#else
#define DYNAMIC_SHARED(type, name)             \
  extern __shared__ __align__(16) char raw_[]; \
  type* name = reinterpret_cast<type*>(raw_)
#endif

struct Add {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Smaller {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

// Reduce one value a thread over the block in a fixed tree; every thread gets the result. blockDim.x is a power of 2,
// and `scratch` holds blockDim.x values.
template <typename T, typename Op>
__device__ T block_reduce(T value, T* scratch, Op op) {
  const unsigned t = threadIdx.x;
  __syncthreads();  // scratch may still be read from the reduction before
  scratch[t] = value;
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (t < half) scratch[t] = op(scratch[t], scratch[t + half]);
    __syncthreads();
  }
  return scratch[0];
}

// Running sums of one value a thread, its own included. `scratch` holds blockDim.x values.
template <typename T>
__device__ T block_scan(T value, T* scratch) {
  const unsigned t = threadIdx.x;
  __syncthreads();  // scratch may still be read from the scan before
  scratch[t] = value;
  __syncthreads();
  for (unsigned step = 1; step < blockDim.x; step *= 2) {
    const T before = t >= step ? scratch[t - step] : T(0);
    __syncthreads();
    scratch[t] += before;
    __syncthreads();
  }
  return scratch[t];
}

// First index in [first, last) whose value is not below z.
template <typename T>
__device__ int64 lower_bound(const T* values, int64 first, int64 last, T z) {
  while (first < last) {
    const int64 middle = first + (last - first) / 2;
    if (values[middle] < z) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  return first;
}

// First index in [first, last) whose value is above z; looks next door before it halves, for most runs are short.
template <typename T>
__device__ int64 run_end(const T* values, int64 first, int64 last, T z) {
  int64 step = 1, low = first;
  while (low < last && values[low] <= z) {
    first = low + 1;
    low = first + step - 1;
    step *= 2;
  }
  if (low < last) last = low;
  while (first < last) {
    const int64 middle = first + (last - first) / 2;
    if (values[middle] <= z) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  return first;
}

// Distance of two values as double; integers are subtracted as integers, exactly even 2**64 - 1 apart.
__device__ inline double gap(float upper, float lower) { return double(upper) - double(lower); }
__device__ inline double gap(double upper, double lower) { return upper - lower; }
__device__ inline double gap(int64 upper, int64 lower) { return double(uint64(upper) - uint64(lower)); }
__device__ inline double gap(uint64 upper, uint64 lower) { return double(upper - lower); }
