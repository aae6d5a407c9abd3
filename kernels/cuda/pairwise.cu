// The pairwise primitive: Gaussian kernel values summed over each pair of blocks of rows. The matrix is never stored.
//
// One thread block takes one pair of row blocks (a, b) with a <= b. Rows of b pass through shared memory in slices; each
// thread walks pairs in a fixed stride, and partial sums meet in a fixed tree.
#include "common.cuh"

constexpr int kThreads = 128;
constexpr int kSlice = 1024;  // values of the rows of b in shared memory: 8 KB

extern "C" __global__ void __launch_bounds__(kThreads)
    pairwise_block_sums(const double* rows, int64 columns, const int64* offsets, double gamma, double* sums) {
  __shared__ double slice[kSlice];
  __shared__ double scratch[kThreads];
  const int64 a = blockIdx.y, b = blockIdx.x, blocks = gridDim.x;
  if (a > b) return;
  const int64 first = offsets[a], height = offsets[a + 1] - first;
  const int64 other = offsets[b], width = offsets[b + 1] - other;
  const bool staged = columns <= kSlice;
  const int64 step = staged ? kSlice / columns : width;
  double sum = 0.0;
  for (int64 start = 0; start < width; start += step) {
    const int64 length = step < width - start ? step : width - start;
    const double* right = rows + (other + start) * columns;
    if (staged) {
      __syncthreads();
      for (int64 k = threadIdx.x; k < length * columns; k += kThreads) slice[k] = right[k];
      __syncthreads();
      right = slice;
    }
    for (int64 pair = threadIdx.x; pair < height * length; pair += kThreads) {
      const int64 i = pair / length, j = pair % length;
      if (first + i == other + start + j) continue;  // a row with itself
      const double* left = rows + (first + i) * columns;
      double distance = 0.0;
      for (int64 k = 0; k < columns; ++k) {
        const double gap = left[k] - right[j * columns + k];
        distance += gap * gap;
      }
      sum += exp(-gamma * distance);
    }
  }
  sum = block_reduce(sum, scratch, Add());
  if (threadIdx.x == 0) {
    sums[a * blocks + b] = sum;
    sums[b * blocks + a] = sum;
  }
}
