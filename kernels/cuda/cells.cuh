// The bin of a value among ascending borders, through a table of equal cells.
//
// The cell of x is (x - low) * scale, cut to a whole number: monotone even after rounding, so a border in a lower cell
// is not above x and one in a higher cell is above it. Only the borders in the cell of x are searched: one or two as a
// rule. low and scale decide nothing but the speed.
#pragma once
#include "common.cuh"

typedef unsigned short uint16;

template <typename T>
struct Real {
  typedef double type;
};
template <>
struct Real<float> {
  typedef float type;
};

template <typename T>
__device__ int cell_of(T x, double low, double scale, int cells) {
  typedef typename Real<T>::type R;
  R position = (R(x) - R(low)) * R(scale);
  position = position > R(0) ? position : R(0);  // NaN, from inf * 0, goes to cell 0
  position = position < R(cells - 1) ? position : R(cells - 1);
  return int(position);
}

// How many borders are not above x. `start` has cells + 1 entries: the borders in cells below each cell.
template <typename T>
__device__ int bin_of(T x, const T* borders, const uint16* start, double low, double scale, int cells) {
  const int cell = cell_of(x, low, scale, cells);
  int first = start[cell], last = start[cell + 1];
  while (first < last) {
    const int middle = (first + last) / 2;
    if (borders[middle] <= x) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  return first;
}

// Fill the table of one column with one block. The cells span the borders but for a thousandth at either end, so that
// an outlier does not spend them all.
template <typename T>
__device__ void fill_table(const T* borders, int used, int cells, uint16* start, double* mapping) {
  typedef typename Real<T>::type R;
  if (threadIdx.x == 0) {
    int first = used >> 10, last = used - 1 - first;
    while (first < last && !(borders[first] - borders[first] == T(0))) ++first;
    while (first < last && !(borders[last] - borders[last] == T(0))) --last;
    const R low = used > 0 ? R(borders[first]) : R(0), high = used > 0 ? R(borders[last]) : R(0);
    const R scale = R(cells) / (high - low);
    const bool usable = scale > R(0) && scale - scale == R(0) && low - low == R(0);
    mapping[0] = usable ? double(low) : 0.0;
    mapping[1] = usable ? double(scale) : 0.0;  // one cell: a plain binary search
  }
  __syncthreads();
  const double low = mapping[0], scale = mapping[1];
  for (int cell = threadIdx.x; cell <= cells; cell += blockDim.x) {
    int first = 0, last = used;
    while (first < last) {
      const int middle = (first + last) / 2;
      if (cell_of(borders[middle], low, scale, cells) < cell) {
        first = middle + 1;
      } else {
        last = middle;
      }
    }
    start[cell] = uint16(first);
  }
}
