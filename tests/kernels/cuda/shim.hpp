// CUDA on the CPU, for the logic of kernels: one fiber a thread, one block after the other.
//
// Order is shuffled: blocks run in random order, and so do the threads between two barriers, so that code which
// depends on the order of threads gives different answers for different seeds. Scheduling is cooperative: data races
// inside one uninterrupted stretch stay hidden. Warp operations need all lanes of the warp that are still alive.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#define TIDEGATE_HOST_SHIM 1
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __shared__ static
#define __restrict__

struct dim3 {
  unsigned x, y, z;
};
struct uint2 {
  unsigned x, y;
};
struct uint4 {
  unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }

namespace shim {

constexpr int kWarp = 32;
constexpr size_t kStack = 128 * 1024;

struct Barrier {
  int arrived = 0;
  uint64_t generation = 0;
};

// A fiber lives as long as the library: it runs its thread of one block after the other. Only its first entry goes
// through swapcontext, which asks the kernel for the signal mask at each turn.
struct Fiber {
  ucontext_t context;
  jmp_buf place;
  std::unique_ptr<char[]> stack;
  dim3 thread;
  unsigned linear;
  bool done;
};

inline dim3 grid_dim, block_dim, block_index;
inline std::vector<Fiber> fibers;
inline Fiber* current = nullptr;
inline jmp_buf scheduler;
inline Barrier block_barrier;
inline std::vector<Barrier> warp_barriers;
inline std::vector<int> warp_alive;
inline std::vector<uint64_t> slots;
inline int alive = 0;
inline std::vector<char> dynamic_shared;
inline void (*body)(void**) = nullptr;
inline void** arguments = nullptr;

__attribute__((noinline)) inline void yield() {
  if (_setjmp(current->place) == 0) _longjmp(scheduler, 1);
}

inline void wait(Barrier& barrier, int expected) {
  const uint64_t generation = barrier.generation;
  if (++barrier.arrived >= expected) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  while (barrier.generation == generation) yield();
}

inline void release_if_complete(Barrier& barrier, int expected) {
  if (barrier.arrived > 0 && barrier.arrived >= expected) {
    barrier.arrived = 0;
    ++barrier.generation;
  }
}

inline void entry() {
  for (;;) {
    body(arguments);
    const int warp = current->linear / kWarp;
    current->done = true;
    --alive;
    --warp_alive[warp];
    release_if_complete(block_barrier, alive);
    release_if_complete(warp_barriers[warp], warp_alive[warp]);
    yield();
  }
}

__attribute__((noinline)) inline void resume(Fiber& fiber) {
  current = &fiber;
  if (_setjmp(scheduler) != 0) return;
  if (fiber.stack) _longjmp(fiber.place, 1);
  fiber.stack.reset(new char[kStack]);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStack;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
  setcontext(&fiber.context);
}

inline void warp_wait() {
  const int warp = current->linear / kWarp;
  wait(warp_barriers[warp], warp_alive[warp]);
}

// Exchange one value between the lanes of a warp.
template <typename T>
T exchange(T value, int from_lane) {
  static_assert(sizeof(T) <= 8, "one slot a lane");
  const unsigned first = current->linear / kWarp * kWarp;
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  slots[current->linear] = word;
  warp_wait();
  const unsigned size = block_dim.x * block_dim.y * block_dim.z;
  T result = value;
  if (from_lane >= 0 && from_lane < kWarp && first + from_lane < size) {
    std::memcpy(&result, &slots[first + from_lane], sizeof(T));
  }
  warp_wait();
  return result;
}

inline void run_block(std::mt19937_64& random) {
  const unsigned size = block_dim.x * block_dim.y * block_dim.z;
  if (fibers.size() < size) fibers.resize(size);
  slots.assign(size, 0);
  const int warps = (size + kWarp - 1) / kWarp;
  warp_barriers.assign(warps, Barrier());
  warp_alive.assign(warps, 0);
  block_barrier = Barrier();
  alive = static_cast<int>(size);
  std::vector<unsigned> order(size);
  for (unsigned t = 0; t < size; ++t) {
    Fiber& fiber = fibers[t];
    fiber.thread = {t % block_dim.x, t / block_dim.x % block_dim.y, t / (block_dim.x * block_dim.y)};
    fiber.linear = t;
    fiber.done = false;
    ++warp_alive[t / kWarp];
    order[t] = t;
  }
  while (alive > 0) {
    std::shuffle(order.begin(), order.end(), random);
    for (unsigned t : order) {
      if (!fibers[t].done) resume(fibers[t]);
    }
  }
}

inline void launch(void (*kernel)(void**), void** args, dim3 grid, dim3 block, size_t shared, uint64_t seed) {
  std::mt19937_64 random(seed);
  body = kernel;
  arguments = args;
  grid_dim = grid;
  block_dim = block;
  dynamic_shared.assign(shared + 16, static_cast<char>(0xA5));
  std::vector<dim3> blocks;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) blocks.push_back({x, y, z});
  std::shuffle(blocks.begin(), blocks.end(), random);
  for (const dim3& index : blocks) {
    block_index = index;
    run_block(random);
  }
}

}  // namespace shim

#define threadIdx (shim::current->thread)
#define blockIdx (shim::block_index)
#define blockDim (shim::block_dim)
#define gridDim (shim::grid_dim)
#define warpSize 32

inline void __syncthreads() { shim::wait(shim::block_barrier, shim::alive); }
inline void __syncwarp(unsigned = 0xffffffffu) { shim::warp_wait(); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline int shim_lane() { return shim::current->linear % shim::kWarp; }
template <typename T>
T __shfl_sync(unsigned, T v, int lane) {
  return shim::exchange(v, lane);
}
template <typename T>
T __shfl_down_sync(unsigned, T v, unsigned delta) {
  return shim::exchange(v, shim_lane() + static_cast<int>(delta));
}
template <typename T>
T __shfl_up_sync(unsigned, T v, unsigned delta) {
  return shim::exchange(v, shim_lane() - static_cast<int>(delta));
}
template <typename T>
T __shfl_xor_sync(unsigned, T v, int mask) {
  return shim::exchange(v, shim_lane() ^ mask);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  unsigned result = 0;
  const unsigned size = shim::block_dim.x * shim::block_dim.y * shim::block_dim.z;
  const unsigned first = shim::current->linear / shim::kWarp * shim::kWarp;
  shim::slots[shim::current->linear] = predicate != 0;
  shim::warp_wait();
  for (unsigned lane = 0; lane < 32 && first + lane < size; ++lane)
    if (!shim::fibers[first + lane].done && shim::slots[first + lane]) result |= 1u << lane;
  shim::warp_wait();
  return result;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

template <typename T>
T atomicAdd(T* address, T value) {
  T old = *address;
  *address = static_cast<T>(old + value);
  return old;
}
template <typename T>
T atomicMax(T* address, T value) {
  T old = *address;
  *address = std::max(old, value);
  return old;
}
template <typename T>
T atomicMin(T* address, T value) {
  T old = *address;
  *address = std::min(old, value);
  return old;
}
template <typename T>
T atomicOr(T* address, T value) {
  T old = *address;
  *address = old | value;
  return old;
}
template <typename T>
T atomicCAS(T* address, T expected, T value) {
  T old = *address;
  if (old == expected) *address = value;
  return old;
}

template <typename T>
T __ldg(const T* address) {
  return *address;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz(static_cast<unsigned>(v)) : 32; }
inline int __clzll(long long v) { return v ? __builtin_clzll(static_cast<unsigned long long>(v)) : 64; }
inline int __ffs(int v) { return __builtin_ffs(v); }
template <typename To, typename From>
To shim_bits(From from) {
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}
inline unsigned __float_as_uint(float v) { return shim_bits<unsigned>(v); }
inline int __float_as_int(float v) { return shim_bits<int>(v); }
inline float __uint_as_float(unsigned v) { return shim_bits<float>(v); }
inline float __int_as_float(int v) { return shim_bits<float>(v); }
inline long long __double_as_longlong(double v) { return shim_bits<long long>(v); }
inline double __longlong_as_double(long long v) { return shim_bits<double>(v); }
template <typename A, typename B>
auto max(A a, B b) -> decltype(a + b) {
  return a > b ? a : b;
}
template <typename A, typename B>
auto min(A a, B b) -> decltype(a + b) {
  return a < b ? a : b;
}
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
