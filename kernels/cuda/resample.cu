// The resample primitive: a replicate's weights are a pure function of (seed, row id, replicate), see resample.py.
//
// A thread owns eight neighbouring replicates, because one Philox call gives eight 16-bit uniforms; a block owns 64
// threads, thus 512 replicates, and one chunk of rows. All its threads look at the same row at the same time, so that
// label and tie flags never diverge. Chunks begin and end at borders of tie groups and of segments. Every sum is an
// integer, so neither the order of chunks nor atomics can change a result.
#include "common.cuh"

constexpr int kThreads = 64;
constexpr int kLanes = 8;

constexpr unsigned char kPositive = 1, kTied = 2, kGroupEnd = 4;  // row flags
constexpr int kPoisson = 0;                                       // else coin

struct Draw {
  unsigned stream, key0, key1, block;
  int kind;
};

// Philox4x32-10 (Salmon et al. 2011).
__device__ inline void philox(unsigned c[4], unsigned k0, unsigned k1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned high0 = __umulhi(0xD2511F53u, c[0]), low0 = 0xD2511F53u * c[0];
    const unsigned high1 = __umulhi(0xCD9E8D57u, c[2]), low1 = 0xCD9E8D57u * c[2];
    c[0] = high1 ^ c[1] ^ k0, c[1] = low1, c[2] = high0 ^ c[3] ^ k1, c[3] = low0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
}

// Poisson(1) by the distribution function in 16 bits.
__device__ inline unsigned poisson(unsigned u) {
  return unsigned(u >= 24109u) + unsigned(u >= 48219u) + unsigned(u >= 60273u) + unsigned(u >= 64292u) +
         unsigned(u >= 65296u) + unsigned(u >= 65497u) + unsigned(u >= 65531u) + unsigned(u >= 65535u);
}

// Weights of one row in the thread's eight replicates: word j holds replicates 2 j (low half) and 2 j + 1.
__device__ inline void draw_weights(const Draw& draw, uint64 id, unsigned flip, unsigned w[kLanes]) {
  unsigned c[4] = {unsigned(id), unsigned(id >> 32), draw.block, draw.stream};
  philox(c, draw.key0, draw.key1);
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) {
    const unsigned u = (c[lane / 2] >> (16 * (lane % 2))) & 0xffffu;
    w[lane] = draw.kind == kPoisson ? poisson(u) : (u >> 15) ^ flip;
  }
}

__device__ inline Draw draw_of(int kind, unsigned first_block, unsigned stream, unsigned key0, unsigned key1) {
  return {stream, key0, key1, first_block + blockIdx.x * kThreads + threadIdx.x, kind};
}

// The thread's first replicate.
__device__ inline int64 first_lane() { return (int64(blockIdx.x) * kThreads + threadIdx.x) * kLanes; }

extern "C" __global__ void resample_weights(const uint64* ids, const unsigned char* flips, int any_flips, int64 rows,
                                            int kind, unsigned block, int lane, unsigned stream, unsigned key0,
                                            unsigned key1, int64* out) {
  const int64 i = int64(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= rows) return;
  unsigned w[kLanes];
  draw_weights({stream, key0, key1, block, kind}, ids[i], any_flips ? flips[i] : 0u, w);
  unsigned mine = 0;
#pragma unroll
  for (int k = 0; k < kLanes; ++k) mine = k == lane ? w[k] : mine;
  out[i] = mine;
}

// One chunk of rows in descending order of score -> partial (chunks, 3, R): twice the pairs in order within the chunk,
// positive and negative weight.
extern "C" __global__ void __launch_bounds__(kThreads)
    resample_auroc(const uint64* ids, const unsigned char* flags, const unsigned char* flips, int any_flips,
                   const int64* first, const int64* last, int kind, unsigned first_block, unsigned stream,
                   unsigned key0, unsigned key1, int64 replicates, int64* partial) {
  const int64 chunk = blockIdx.y, begin = first[chunk], end = last[chunk];
  const Draw draw = draw_of(kind, first_block, stream, key0, key1);
  const int64 lane0 = first_lane();
  if (lane0 >= replicates) return;
  uint64 twice[kLanes] = {}, positives[kLanes] = {}, negatives[kLanes] = {};
  uint64 group_p[kLanes] = {}, group_n[kLanes] = {};
  for (int64 i = begin; i < end; ++i) {
    unsigned w[kLanes];
    draw_weights(draw, ids[i], any_flips ? flips[i] : 0u, w);
    const unsigned char flag = flags[i];
    if (flag == 0) {
#pragma unroll
      for (int k = 0; k < kLanes; ++k) twice[k] += 2 * w[k] * positives[k], negatives[k] += w[k];
    } else if (flag == kPositive) {
#pragma unroll
      for (int k = 0; k < kLanes; ++k) positives[k] += w[k];
    } else if (flag & kPositive) {
#pragma unroll
      for (int k = 0; k < kLanes; ++k) group_p[k] += w[k];
    } else {
#pragma unroll
      for (int k = 0; k < kLanes; ++k) group_n[k] += w[k];
    }
    if (flag & kGroupEnd) {
#pragma unroll
      for (int k = 0; k < kLanes; ++k) {
        twice[k] += group_n[k] * (2 * positives[k] + group_p[k]);
        positives[k] += group_p[k], negatives[k] += group_n[k];
        group_p[k] = group_n[k] = 0;
      }
    }
  }
  int64* row = partial + chunk * 3 * replicates + lane0;
#pragma unroll
  for (int k = 0; k < kLanes; ++k) {
    if (lane0 + k < replicates) {
      row[k] = int64(twice[k]);
      row[replicates + k] = int64(positives[k]);
      row[2 * replicates + k] = int64(negatives[k]);
    }
  }
}

// Chunks of each segment -> out (3, S, R): a chunk's negatives also lie below all positives of the chunks before.
extern "C" __global__ void resample_join(const int64* partial, const int64* chunks, int64 replicates, int64* out) {
  const int64 r = int64(blockIdx.x) * blockDim.x + threadIdx.x, s = blockIdx.y, segments = gridDim.y;
  if (r >= replicates) return;
  int64 twice = 0, positives = 0, negatives = 0;
  for (int64 c = chunks[s]; c < chunks[s + 1]; ++c) {
    const int64* row = partial + c * 3 * replicates + r;
    twice += row[0] + 2 * row[2 * replicates] * positives;
    positives += row[replicates], negatives += row[2 * replicates];
  }
  out[s * replicates + r] = twice;
  out[(segments + s) * replicates + r] = positives;
  out[(2 * segments + s) * replicates + r] = negatives;
}

// In place: the weights of each chunk -> those of the segment's chunks before it; out (3, S, R) gets the totals.
extern "C" __global__ void resample_prefix(int64* partial, const int64* chunks, int64 replicates, int64* out) {
  const int64 r = int64(blockIdx.x) * blockDim.x + threadIdx.x, s = blockIdx.y, segments = gridDim.y;
  if (r >= replicates) return;
  int64 positives = 0, negatives = 0;
  for (int64 c = chunks[s]; c < chunks[s + 1]; ++c) {
    int64* row = partial + c * 3 * replicates + r;
    const int64 p = row[replicates], n = row[2 * replicates];
    row[replicates] = positives, row[2 * replicates] = negatives;
    positives += p, negatives += n;
  }
  out[s * replicates + r] = 0;
  out[(segments + s) * replicates + r] = positives;
  out[(2 * segments + s) * replicates + r] = negatives;
}

// Adds to out (3, S, R) the chunk's sum over positives of floor(scale * precision at their score).
extern "C" __global__ void __launch_bounds__(kThreads)
    resample_precision(const uint64* ids, const unsigned char* flags, const unsigned char* flips, int any_flips,
                       const int64* first, const int64* last, const int64* segment, int kind, double scale,
                       unsigned first_block, unsigned stream, unsigned key0, unsigned key1, int64 replicates,
                       const int64* partial, uint64* out) {
  const int64 chunk = blockIdx.y, begin = first[chunk], end = last[chunk];
  const Draw draw = draw_of(kind, first_block, stream, key0, key1);
  const int64 lane0 = first_lane();
  if (lane0 >= replicates || begin >= end) return;
  int64 total[kLanes] = {}, tp[kLanes], fp[kLanes];
  unsigned group_p[kLanes] = {};
  const int64* row = partial + chunk * 3 * replicates + lane0;
#pragma unroll
  for (int k = 0; k < kLanes; ++k) {
    const bool inside = lane0 + k < replicates;
    tp[k] = inside ? row[replicates + k] : 0;
    fp[k] = inside ? row[2 * replicates + k] : 0;
  }
  for (int64 i = begin; i < end; ++i) {
    unsigned w[kLanes];
    draw_weights(draw, ids[i], any_flips ? flips[i] : 0u, w);
    const unsigned char flag = flags[i];
    if (flag & kPositive) {
#pragma unroll
      for (int k = 0; k < kLanes; ++k) tp[k] += w[k], group_p[k] += w[k];
    } else {
#pragma unroll
      for (int k = 0; k < kLanes; ++k) fp[k] += w[k];
    }
    if ((flag & kGroupEnd) || flag == kPositive) {
#pragma unroll
      for (int k = 0; k < kLanes; ++k) {
        const int64 both = tp[k] + fp[k];
        const double precision = double(tp[k]) / double(both > 1 ? both : 1);
        total[k] += int64(group_p[k]) * int64(precision * scale);
        group_p[k] = 0;
      }
    }
  }
  uint64* target = out + segment[chunk] * replicates + lane0;
#pragma unroll
  for (int k = 0; k < kLanes; ++k)
    if (lane0 + k < replicates) atomicAdd(target + k, uint64(total[k]));
}

// Adds to out (S, columns, R), at column `at`, the weighted sums of K columns of values (rows, K) given one after the
// other with a stride, and after them the weight itself if `count` is set.
template <int K>
__device__ void weighted_sums(const uint64* ids, const int64* values, int64 rows, const unsigned char* flips,
                              int any_flips, const int64* first, const int64* last, const int64* segment, int kind,
                              unsigned first_block, unsigned stream, unsigned key0, unsigned key1, int64 replicates,
                              int columns, int at, int count, uint64* out) {
  const int64 chunk = blockIdx.y, begin = first[chunk], end = last[chunk];
  const Draw draw = draw_of(kind, first_block, stream, key0, key1);
  const int64 lane0 = first_lane();
  if (lane0 >= replicates || begin >= end) return;
  uint64 total[K > 0 ? K : 1][kLanes] = {}, weight[kLanes] = {};
  for (int64 i = begin; i < end; ++i) {
    unsigned w[kLanes];
    draw_weights(draw, ids[i], any_flips ? flips[i] : 0u, w);
#pragma unroll
    for (int j = 0; j < K; ++j) {
      const uint64 value = uint64(values[j * rows + i]);
#pragma unroll
      for (int k = 0; k < kLanes; ++k) total[j][k] += value * w[k];
    }
#pragma unroll
    for (int k = 0; k < kLanes; ++k) weight[k] += w[k];
  }
  uint64* target = out + (segment[chunk] * columns + at) * replicates + lane0;
#pragma unroll
  for (int k = 0; k < kLanes; ++k) {
    if (lane0 + k >= replicates) continue;
#pragma unroll
    for (int j = 0; j < K; ++j) atomicAdd(target + j * replicates + k, total[j][k]);
    if (count) atomicAdd(target + K * replicates + k, weight[k]);
  }
}

#define RESAMPLE_SUMS(K)                                                                                              \
  extern "C" __global__ void __launch_bounds__(kThreads) resample_sums_##K(                                           \
      const uint64* ids, const int64* values, int64 rows, const unsigned char* flips, int any_flips,                  \
      const int64* first, const int64* last, const int64* segment, int kind, unsigned first_block, unsigned stream,   \
      unsigned key0, unsigned key1, int64 replicates, int columns, int at, int count, uint64* out) {                  \
    weighted_sums<K>(ids, values, rows, flips, any_flips, first, last, segment, kind, first_block, stream, key0,      \
                     key1, replicates, columns, at, count, out);                                                      \
  }

RESAMPLE_SUMS(0)
RESAMPLE_SUMS(1)
RESAMPLE_SUMS(2)
