"""The C++ in which CUDA text runs on the host: threads, barriers, shuffles, shared memory, checks.

`HOST` gives CUDA's words a meaning on one core. Without barriers the threads of a block run one
after the other; with them each is a fiber (a stack of its own), which runs up to the next barrier
and waits there for the others. Always in the same order, so results repeat; `backwards` turns the
order around, so that what depends on it, a race, shows.

What a GPU would leave undefined stops the kernel with a message that names line, block and thread:

- a barrier that not all threads of the block reach, or a shuffle or vote that not all lanes reach
  which its mask names (lanes that have returned, or are beyond the block, are not waited for);
- an index outside an array of known size (a tile, the registers), a misaligned vector load,
  an integer overflow, a division by 0: the compiler's own sanitizer reports them to us;
- with `cuda.RACES` among the compiler's flags, a race: two threads use the same number, one of them
  changes it, and nothing orders them (see `WATCH`).

Shared memory, and the stack on which a thread's variables lie, are filled with NaN before every
block. A grader has two more ways, see `Before`: a block then finds what the block before it has
left, or the launch before, as on a GPU.

Atomics, votes, shuffles, and the overloads of min and max are those of CUDA's own headers, no more
and no fewer: what is ambiguous for nvcc is here, too.
"""

HOST = r"""
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <math.h>
#include <utility>
using std::abs; using std::size_t;
#define __host__
#define __device__
#define __global__
#define __constant__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((used, section("shared_memory")))
struct uint3 { unsigned x, y, z; };
typedef uint3 dim3;
static uint3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

static char *message;                                        // where `fail` writes
[[noreturn]] static void leave();                            // this thread will not go on
[[noreturn]] static void fail(const char *what, int line) {
  snprintf(message, 300, "line %d, block (%u, %u, %u), thread (%u, %u, %u): %s", line, blockIdx.x,
           blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z, what);
  leave();
}

// -fsanitize calls these; what they are told begins with the place in the text.
struct Place { const char *file; unsigned line, column; };
#define REPORT(name, what) \
  extern "C" void __ubsan_handle_##name(Place *at, size_t, size_t) { fail(what, at->line); }
REPORT(out_of_bounds, "an index is outside its array")
REPORT(type_mismatch_v1, "a pointer is not aligned to its type")
REPORT(add_overflow, "an integer sum overflows")
REPORT(sub_overflow, "an integer difference overflows")
REPORT(mul_overflow, "an integer product overflows")
REPORT(negate_overflow, "an integer negation overflows")
REPORT(divrem_overflow, "an integer is divided by 0")

// What is in shared memory when a block begins.
enum Before { ALL_NAN, ZERO_AT_FIRST, AS_IT_WAS };
static Before before = ALL_NAN;
static int filling() { return before == ALL_NAN ? 0xFF : 0; }

// A thread's variables are where another function's were: not 0, unless somebody sets them. Between
// this and the kernel all is UNSEEN by `touch`, which would leave its own variables there.
#define UNSEEN __attribute__((no_sanitize("thread")))
UNSEEN __attribute__((noinline)) static void use_stack() {
  char room[8192];
  memset(room, filling(), sizeof room);
  asm volatile("" : : "r"(room) : "memory");                 // so that it is not optimized away
}

#define __builtin_assume(truth) if (!(truth)) fail("it was assumed that " #truth, __LINE__)
static int __popc(unsigned n) { return __builtin_popcount(n); }
static int __popcll(unsigned long long n) { return __builtin_popcountll(n); }
static int __ffs(int n) { return __builtin_ffs(n); }
static int __ffsll(long long n) { return __builtin_ffsll(n); }
static int __clz(int n) { return n ? __builtin_clz(n) : 32; }
static int __clzll(long long n) { return n ? __builtin_clzll(n) : 64; }
static unsigned long long __brevll(unsigned long long n) {
  unsigned long long turned = 0;
  for (int k = 0; k < 64; ++k) turned |= (n >> k & 1) << (63 - k);
  return turned;
}
static unsigned __brev(unsigned n) { return __brevll(n) >> 32; }
template <class V> static V __ldg(const V *at) { return *at; }
static double rsqrt(double a) { return 1 / sqrt(a); }
static float rsqrtf(float a) { return 1 / sqrt(a); }

// ---- races ----
// -fsanitize=thread calls `touch` before everything that is read or written. Two threads race if
// both use a number, one of them changes it, and nothing orders the two: within a block a barrier
// would, within a warp also what its lanes wait at for one another, between blocks nothing. Atomics
// do not race with one another, nor with who reads (a loop around atomicCAS begins so), and neither
// do threads that write the same: that changes it once. Where there are atomics, nobody is accused
// after a fence: what it orders depends on what is read afterwards.
#pragma GCC push_options
#pragma GCC optimize("O2")
enum Kind { READ, WRITE, ATOMIC };
struct Access {
  unsigned block, thread, barriers;                          // how many barriers it has passed
  unsigned clock;                                            // its own, see `Fiber::known`
  unsigned fences;
  bool there;
};
struct Number { const char *at; Access write, atomic, reads[2]; };
struct Pending { char *at; size_t size; char old[64]; };     // written a moment ago
static bool watched;                                         // a thread of the kernel's is running
static Pending pending;
static Number *numbers;                                      // a hash table of 4 bytes or 1 each
static size_t room, used;
static unsigned fences, atomics;                             // so far
static Access access();                                      // of the thread that is running
static bool own(const char *at);                             // whether it is on that one's stack
static bool is_shared(const char *at);
static bool knows(unsigned thread, unsigned clock);          // whether it waited for that one since
static void settle();
struct Watch {                                               // from here to the end of a block
  bool was;
  UNSEEN Watch(bool now) : was(watched) { change(now); }
  UNSEEN ~Watch() { change(was); }
  UNSEEN static void change(bool now) {
    bool before = watched;
    watched = false;
    if (before && pending.size) settle();
    watched = now;
  }
};
UNSEEN static void forget_pending() { watched = false, pending.size = 0; }
static unsigned block_number() {
  return blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
}

static void forget() {
  free(numbers);
  numbers = nullptr;
  room = used = fences = atomics = pending.size = 0;
}
static Number &number(const char *at) {
  if (2 * used >= room) {
    Number *old = numbers;
    size_t before = room;
    room = room ? 2 * room : 4096;
    numbers = (Number *)calloc(room, sizeof(Number));
    used = 0;
    for (size_t k = 0; k < before; ++k) if (old[k].at) number(old[k].at) = old[k];
    free(old);
  }
  size_t k = size_t(at) * 0x9E3779B97F4A7C15u >> 20 & (room - 1);
  while (numbers[k].at && numbers[k].at != at) k = (k + 1) & (room - 1);
  if (!numbers[k].at) numbers[k].at = at, ++used;
  return numbers[k];
}
static uint3 index_of(unsigned n, uint3 size) {
  return {n % size.x, n / size.x % size.y, n / size.x / size.y};
}

// Nothing orders what thread b does now after what thread a did earlier.
static void compare(const Access &a, const Access &b, const char *at) {
  bool near = a.block == b.block, warp = near && a.thread / 32 == b.thread / 32;
  if (!a.there || (atomics && a.fences != b.fences) || (near && a.thread == b.thread) ||
      (near && a.barriers != b.barriers) || (warp && knows(a.thread, a.clock)) ||
      (!near && is_shared(at))) return;
  uint3 s = index_of(near ? a.thread : a.block, near ? blockDim : gridDim);
  uint3 t = index_of(near ? b.thread : b.block, near ? blockDim : gridDim);
  char where[64] = "";
  if (near) snprintf(where, 64, "block (%u, %u, %u), ", blockIdx.x, blockIdx.y, blockIdx.z);
  snprintf(message, 300, "%s%s (%u, %u, %u) and (%u, %u, %u): both use the same number in %s "
           "memory, one of them changes it, and %s: a race", where, near ? "threads" : "blocks",
           s.x, s.y, s.z, t.x, t.y, t.z, is_shared(at) ? "shared" : "global",
           near ? "no barrier lies between them" : "blocks run in any order");
  leave();
}
static void record(const char *at, Kind kind, const Access &now) {
  Number &n = number(at);
  compare(n.write, now, at);
  if (kind == WRITE) {
    compare(n.atomic, now, at);
    for (const Access &read : n.reads) compare(read, now, at);
  }
  if (kind == READ) {
    if (n.reads[0].thread != now.thread || n.reads[0].block != now.block) n.reads[1] = n.reads[0];
    n.reads[0] = now;
  } else {
    (kind == WRITE ? n.write : n.atomic) = now;
  }
}
static void record_all(const char *at, size_t size, Kind kind, const Access &now) {
  size_t step = size % 4 || size_t(at) % 4 ? 1 : 4;
  for (size_t k = 0; k < size; k += step) record(at + k, kind, now);
}
// Of what was written a moment ago: those numbers that it changed. Who writes what is there already
// may read it as its own.
static void settle() {
  size_t step = pending.size % 4 || size_t(pending.at) % 4 ? 1 : 4;
  Access now = access();
  size_t size = pending.size;
  pending.size = 0;
  for (size_t k = 0; k < size; k += step)
    if (memcmp(pending.at + k, pending.old + k, step)) record(pending.at + k, WRITE, now);
    else if (Number &n = number(pending.at + k); n.write.there) n.write = now;  // the same again
}
UNSEEN static void touch(void *at, size_t size, Kind kind) {
  if (!watched) return;
  Watch nothing(false);
  if (own((char *)at)) return;
  atomics += kind == ATOMIC;
  if (kind != WRITE || size > sizeof pending.old)
    return record_all((char *)at, size, kind, access());
  pending.at = (char *)at, pending.size = size;
  memcpy(pending.old, at, size);
}
#define HOOK(name, size, kind) \
  extern "C" UNSEEN void __tsan_##name(void *at) { \
    touch(at, size, kind); \
  }
#define HOOKS(size) HOOK(read##size, size, READ) HOOK(write##size, size, WRITE) \
  HOOK(unaligned_read##size, size, READ) HOOK(unaligned_write##size, size, WRITE) \
  HOOK(read_write##size, size, WRITE) HOOK(unaligned_read_write##size, size, WRITE)
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
#define RANGE(name, kind) \
  extern "C" UNSEEN void __tsan_##name(void *at, size_t size) { \
    touch(at, size, kind); \
  }
RANGE(read_range, READ) RANGE(write_range, WRITE)
#define COPY(name, from, ...) \
  extern "C" UNSEEN void *__tsan_##name(void *to, from, size_t size) { \
    __VA_ARGS__; \
    touch(to, size, WRITE); \
    return name(to, what, size); \
  }
COPY(memcpy, const void *what, touch((void *)what, size, READ))   // clang's, for whole structures
COPY(memmove, const void *what, touch((void *)what, size, READ)) COPY(memset, int what)
#define NOTHING(name, ...) \
  extern "C" UNSEEN void __tsan_##name(__VA_ARGS__) {}
NOTHING(init) NOTHING(func_entry, void *) NOTHING(func_exit) NOTHING(vptr_update, void **, void *)
#pragma GCC pop_options
static void __threadfence() { Watch nothing(false); ++fences; }   // one thread runs at a time
static void __threadfence_block() { __threadfence(); }
static void __threadfence_system() { __threadfence(); }

// Of a number and NaN, the number. A mixture of other types is ambiguous.
#define LEAST(result, A, B) \
  static inline result min(A a, B b) { result x = a, y = b; return y < x ? y : x; } \
  static inline result max(A a, B b) { result x = a, y = b; return x < y ? y : x; }
#define LEAST_REAL(result, A, B) \
  static inline result min(A a, B b) { result x = a, y = b; return fmin(x, y); } \
  static inline result max(A a, B b) { result x = a, y = b; return fmax(x, y); }
#define LEAST_WHOLE(T) LEAST(T, T, T) LEAST(unsigned T, unsigned T, unsigned T) \
  LEAST(unsigned T, T, unsigned T) LEAST(unsigned T, unsigned T, T)
LEAST_WHOLE(int) LEAST_WHOLE(long) LEAST_WHOLE(long long)
LEAST_REAL(float, float, float) LEAST_REAL(double, double, double)
LEAST_REAL(double, float, double) LEAST_REAL(double, double, float)

// One thread runs at a time, and it is never stopped within these: they are atomic as they are.
// Each returns what was there before; integers wrap around. Inline, so that those which a text does
// not use cost its compilation nothing.
template <class V> static void atomic(V *at, int line) {
  if (size_t(at) % sizeof(V)) fail("the address of an atomic is not aligned to its type", line);
  touch(at, sizeof(V), ATOMIC);
}
#define HERE int line = __builtin_LINE()
#define ATOMIC(V, name, after) \
  static inline V atomic##name(V *at, V value, HERE) { \
    atomic(at, line); \
    Watch nothing(false); \
    V old = *at; \
    *at = after; \
    return old; \
  } \
  static inline V atomic##name##_block(V *at, V v, HERE) { return atomic##name(at, v, line); } \
  static inline V atomic##name##_system(V *at, V v, HERE) { return atomic##name(at, v, line); }
#define ATOMIC_BITS(V) \
  ATOMIC(V, And, old & value) ATOMIC(V, Or, old | value) ATOMIC(V, Xor, old ^ value) \
  ATOMIC(V, Min, min(old, value)) ATOMIC(V, Max, max(old, value))
#define ATOMIC_CAS(V) \
  static inline V atomicCAS(V *at, V compare, V value, HERE) { \
    atomic(at, line); \
    Watch nothing(false); \
    V old = *at; \
    if (old == compare) *at = value; \
    return old; \
  } \
  static inline V atomicCAS_block(V *at, V c, V v, HERE) { return atomicCAS(at, c, v, line); } \
  static inline V atomicCAS_system(V *at, V c, V v, HERE) { return atomicCAS(at, c, v, line); }
typedef unsigned long long unsigned_long_long;
ATOMIC_BITS(int) ATOMIC_BITS(unsigned) ATOMIC_BITS(long long) ATOMIC_BITS(unsigned_long_long)
ATOMIC(int, Add, int(unsigned(old) + unsigned(value))) ATOMIC(unsigned, Add, old + value)
ATOMIC(unsigned_long_long, Add, old + value)
ATOMIC(float, Add, old + value) ATOMIC(double, Add, old + value)
ATOMIC(int, Sub, int(unsigned(old) - unsigned(value))) ATOMIC(unsigned, Sub, old - value)
ATOMIC(unsigned, Inc, old >= value ? 0 : old + 1)
ATOMIC(unsigned, Dec, old == 0 || old > value ? value : old - 1)
ATOMIC(int, Exch, value) ATOMIC(unsigned, Exch, value) ATOMIC(unsigned_long_long, Exch, value)
ATOMIC(float, Exch, value)
ATOMIC_CAS(int) ATOMIC_CAS(unsigned) ATOMIC_CAS(unsigned_long_long) ATOMIC_CAS(unsigned short)
"""

ALONE = r"""
static jmp_buf home;
static char *bottom;                                         // where the threads' stack begins
static void leave() { forget_pending(), longjmp(home, 1); }
static Access access() {
  return {block_number(), threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z), 0, 0,
          fences, true};
}
static bool own(const char *at) { return at < bottom && at > (char *)__builtin_frame_address(0); }
static bool is_shared(const char *) { return false; }
static bool knows(unsigned, unsigned) { return false; }
template <class Call> UNSEEN static void run_block(Call call, bool backwards) {
  unsigned count = blockDim.x * blockDim.y * blockDim.z;
  bottom = (char *)__builtin_frame_address(0);
  for (unsigned k = 0; k < count; ++k) {
    unsigned t = backwards ? count - 1 - k : k;
    threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    if (setjmp(home)) return;
    Watch all(true);
    use_stack();
    call();
  }
}
static char *dynamic_shared(size_t) { return nullptr; }
static void fill_shared() {}
"""

TOGETHER = r"""
#include <ucontext.h>
#include <vector>
enum State { READY, AT_BARRIER, AT_WARP, DONE };
struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  uint3 index;
  State state;
  int line;                                                  // where it waits
  unsigned lanes;                                            // of its warp, for whom it waits
  unsigned barriers;                                         // that it has passed
  unsigned known[32];                                        // of each lane: up to where it is
};                                                           // ordered before this one (a vector
                                                             // clock: Fidge 1988, Mattern 1988)
static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static unsigned current;
static void (*thread_body)(void *);
static void *thread_argument;

static void leave() {
  forget_pending();
  setcontext(&scheduler);
  __builtin_unreachable();
}
UNSEEN static void start() {
  {
    Watch all(true);
    use_stack();
    thread_body(thread_argument);
  }
  fibers[current].state = DONE;
  setcontext(&scheduler);
}
static void wait(State state, int line, unsigned lanes = 0) {
  Watch nothing(false);
  fibers[current].state = state;
  fibers[current].line = line;
  fibers[current].lanes = lanes;
  swapcontext(&fibers[current].context, &scheduler);
}

// What every thread leaves for the others to read. All wait before that, and until all have read.
static unsigned long long left[1024];
static Access access() {
  const Fiber &f = fibers[current];
  return {block_number(), current, f.barriers, f.known[current % 32], fences, true};
}
static bool knows(unsigned thread, unsigned clock) {
  return fibers[current].known[thread % 32] >= clock;
}
static bool own(const char *at) {
  const std::vector<char> &stack = fibers[current].stack;
  return at >= stack.data() && at < stack.data() + stack.size();
}
static int count_votes(bool vote, int line) {
  Watch nothing(false);
  left[current] = vote;
  wait(AT_BARRIER, line);
  int votes = 0;
  for (unsigned k = 0; k < fibers.size(); ++k) votes += left[k];
  wait(AT_BARRIER, line);
  return votes;
}
static void __syncthreads(HERE) { wait(AT_BARRIER, line); }
static int __syncthreads_count(int vote, HERE) { return count_votes(vote, line); }
static int __syncthreads_or(int vote, HERE) { return count_votes(vote, line) > 0; }
static int __syncthreads_and(int vote, HERE) {
  return count_votes(vote, line) == int(fibers.size());
}

// The lanes of a warp that meet, and what each of them brought.
static int lane() { return current % 32; }
struct Lanes { unsigned there; unsigned long long values[32]; };
static void meet(unsigned mask, int line) {
  if (!(mask >> lane() & 1)) fail("its mask does not name this thread itself", line);
  wait(AT_WARP, line, mask);
}
template <class V> static Lanes gather(unsigned mask, V value, int line) {
  static_assert(sizeof(V) <= 8, "of a warp's lanes, others get at most 64 bits");
  Watch nothing(false);
  unsigned first = current / 32 * 32;
  left[current] = 0;
  memcpy(&left[current], &value, sizeof value);
  meet(mask, line);
  Lanes found = {0, {}};
  for (unsigned k = 0; k < 32 && first + k < fibers.size(); ++k)
    if (mask >> k & 1 && fibers[first + k].state != DONE) {
      found.there |= 1u << k;
      found.values[k] = left[first + k];
    }
  meet(mask, line);
  return found;
}
static void __syncwarp(unsigned mask = 0xffffffff, HERE) { meet(mask, line); }
static unsigned __activemask(HERE) {                         // all that get here before the rest
  wait(AT_WARP, line);
  return fibers[current].lanes;
}

static unsigned __ballot_sync(unsigned mask, int vote, HERE) {
  Lanes found = gather(mask, vote != 0, line);
  unsigned votes = 0;
  for (int k = 0; k < 32; ++k) votes |= unsigned(found.values[k]) << k;
  return votes;
}
static int __any_sync(unsigned mask, int vote, HERE) { return !!__ballot_sync(mask, vote, line); }
static int __all_sync(unsigned mask, int vote, HERE) { return !__ballot_sync(mask, !vote, line); }
template <class V> static unsigned __match_any_sync(unsigned mask, V value, HERE) {
  Lanes found = gather(mask, value, line);
  unsigned same = 0;
  for (int k = 0; k < 32; ++k)
    same |= unsigned(found.there >> k & found.values[k] == found.values[lane()]) << k;
  return same;
}

// A shuffle: from which lane, of those of the same `width`? None: its own. From one that is not
// there comes nothing that is defined, so NaN.
template <class V> static V from(int source, bool any, unsigned mask, V value, int line) {
  Lanes found = gather(mask, value, line);
  if (!any) return value;
  if (found.there >> source & 1) memcpy(&value, &found.values[source], sizeof value);
  else memset(&value, 0xFF, sizeof value);
  return value;
}
static int begin(int width) { return lane() & (32 - width); }
#define SHUFFLE(name, step, source, any) \
  template <class V> \
  static V name(unsigned mask, V value, step, int width = 32, HERE) { \
    int s = source; \
    return from(s, any, mask, value, line); \
  }
SHUFFLE(__shfl_sync, int n, begin(width) | (n & (width - 1)), true)
SHUFFLE(__shfl_up_sync, unsigned n, lane() - int(n & 31), s >= begin(width))
SHUFFLE(__shfl_down_sync, unsigned n, lane() + int(n & 31), s < begin(width) + width)
SHUFFLE(__shfl_xor_sync, int n, lane() ^ (n & 31), s < begin(width) + width)

#define REDUCE(V, name, both) \
  static V __reduce_##name##_sync(unsigned mask, V value, HERE) { \
    Lanes found = gather(mask, value, line); \
    V a = value, b; \
    for (int k = 0; k < 32; ++k) \
      if (k != lane() && found.there >> k & 1) memcpy(&b, &found.values[k], sizeof b), a = both; \
    return a; \
  }
REDUCE(unsigned, add, a + b) REDUCE(int, add, int(unsigned(a) + unsigned(b)))
REDUCE(unsigned, min, min(a, b)) REDUCE(int, min, min(a, b))
REDUCE(unsigned, max, max(a, b)) REDUCE(int, max, max(a, b))
REDUCE(unsigned, and, a & b) REDUCE(unsigned, or, a | b) REDUCE(unsigned, xor, a ^ b)

__shared__ int at_least_one_shared_variable;                 // so that the section exists
extern "C" char __start_shared_memory[] __attribute__((visibility("hidden")));
extern "C" char __stop_shared_memory[] __attribute__((visibility("hidden")));
static std::vector<char> dynamic_memory;
static size_t dynamic_size;
static char *dynamic_shared(size_t size) {
  dynamic_size = size;
  dynamic_memory.assign(size + 256, char(0xFF));             // the last 256 bytes are nobody's
  return dynamic_memory.data();
}

static bool is_shared(const char *at) {
  return (at >= __start_shared_memory && at < __stop_shared_memory)
         || (at >= dynamic_memory.data() && at < dynamic_memory.data() + dynamic_memory.size());
}
static void fill_shared() {
  memset(__start_shared_memory, filling(), __stop_shared_memory - __start_shared_memory);
  dynamic_memory.assign(dynamic_memory.size(), char(0xFF));
}

static void report(unsigned k, const char *what) {           // in the name of thread k
  threadIdx = fibers[k].index;
  snprintf(message, 300, "line %d, block (%u, %u, %u), thread (%u, %u, %u): %s", fibers[k].line,
           blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z, what);
}

// Whether all are there for whom thread k waits.
static bool complete(unsigned k, unsigned first, unsigned end) {
  const Fiber &f = fibers[k];
  for (unsigned j = first; j < end; ++j) {
    const Fiber &g = fibers[j];
    bool there = g.state == AT_WARP && g.line == f.line && g.lanes == f.lanes;
    if (f.lanes >> (j - first) & 1 && !there && g.state != DONE) return false;
  }
  return f.lanes != 0;
}

// Let all go on that wait at the same place as thread k, and for the same.
static bool release(unsigned k, unsigned first, unsigned end) {
  int line = fibers[k].line;
  unsigned lanes = fibers[k].lanes, found = 0, known[32] = {};
  for (unsigned j = first; j < end; ++j)
    if (fibers[j].state == AT_WARP && fibers[j].line == line && fibers[j].lanes == lanes) {
      found |= 1u << (j - first);
      for (int lane = 0; lane < 32; ++lane)
        known[lane] = max(known[lane], fibers[j].known[lane]);
    }
  for (unsigned j = first; j < end; ++j)
    if (found >> (j - first) & 1) {
      fibers[j].state = READY;
      fibers[j].lanes = found;
      if (!lanes) continue;                                  // __activemask orders nothing
      memcpy(fibers[j].known, known, sizeof known);
      ++fibers[j].known[j - first];
    }
  return true;
}

// Let lanes go on that all wait for one another; else those that wait for nobody in particular.
// False: nobody waits for lanes, or in vain.
static bool release_warp(unsigned first, unsigned end) {
  for (unsigned k = first; k < end; ++k)
    if (fibers[k].state == AT_WARP && complete(k, first, end)) return release(k, first, end);
  for (unsigned k = first; k < end; ++k)
    if (fibers[k].state == AT_WARP && fibers[k].lanes == 0) return release(k, first, end);
  for (unsigned k = first; k < end; ++k)
    if (fibers[k].state == AT_WARP) {
      report(k, "waits for its warp, of which other threads are elsewhere");
      break;
    }
  return false;
}

// Run a warp as far as it gets without the others: that is what a missing barrier would allow.
static void run_warp(unsigned first, unsigned end, bool backwards) {
  do
    for (unsigned k = first; k < end; ++k) {
      current = backwards ? first + end - 1 - k : k;
      if (fibers[current].state != READY) continue;
      threadIdx = fibers[current].index;
      swapcontext(&scheduler, &fibers[current].context);
      if (*message) return;
    }
  while (release_warp(first, end));
}

// Every warp runs up to a barrier; once all wait there, all go on.
template <class Call> static void run_block(Call call, bool backwards) {
  unsigned count = blockDim.x * blockDim.y * blockDim.z;
  fibers.resize(count);
  thread_body = [](void *argument) UNSEEN { (*(Call *)argument)(); };
  thread_argument = &call;
  for (unsigned t = 0; t < count; ++t) {
    Fiber &f = fibers[t];
    f.stack.resize(1 << 16);
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.data();
    f.context.uc_stack.ss_size = f.stack.size();
    makecontext(&f.context, start, 0);
    f.index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    f.state = READY;
    f.barriers = 0;
    for (unsigned k = 0; k < 32; ++k) f.known[k] = k == t % 32;
  }
  for (;;) {
    unsigned warps = (count + 31) / 32, done = 0, waiting = 0;
    for (unsigned each = 0; each < warps; ++each) {
      unsigned first = 32 * (backwards ? warps - 1 - each : each);
      run_warp(first, min(first + 32, count), backwards);
      if (*message) return;
    }
    for (const Fiber &f : fibers) {
      done += f.state == DONE;
      waiting += f.state == AT_BARRIER && f.line == fibers[0].line;
    }
    if (done == count) break;
    if (waiting < count) {
      unsigned k = 0;
      while (fibers[k].state != AT_BARRIER) ++k;
      return report(k, "waits at a barrier that other threads of its block never reach");
    }
    for (Fiber &f : fibers) f.state = READY, ++f.barriers;
  }
  for (size_t k = dynamic_size; k < dynamic_memory.size(); ++k)
    if (dynamic_memory[k] != char(0xFF)) return report(0, "its block wrote beyond shared memory");
}
"""

# For a grader, whose arrays end where a closed page of memory begins: what is read or written there
# is reported, too. The fault comes from the kernel's own thread, so it can be left as by `fail`.
FENCED = r"""
#include <csignal>
static void outside(int, siginfo_t *, void *) {
  snprintf(message, 300, "block (%u, %u, %u), thread (%u, %u, %u): it reads or writes outside of "
           "its arrays", blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
  leave();
}
extern "C" void fenced_launch(const unsigned *sizes, void **values, bool backwards, int memory,
                              char *text) {
  struct sigaction earlier, now = {};
  now.sa_sigaction = outside;
  now.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &now, &earlier);
  before = Before(memory);
  launch(sizes, values, backwards, text);
  sigaction(SIGSEGV, &earlier, nullptr);
}
"""

LAUNCH = r"""
template <class... A, size_t... I>
static void launch_kernel(void (*k)(A...), void **values, bool backwards,
                          std::index_sequence<I...>) {
  unsigned count = gridDim.x * gridDim.y * gridDim.z;
  for (unsigned each = 0; each < count && !*message; ++each) {
    unsigned b = backwards ? count - 1 - each : each;
    blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
    if (before == ALL_NAN || (before == ZERO_AT_FIRST && each == 0)) fill_shared();
    run_block([&]() UNSEEN { k(*(A *)values[I]...); }, backwards);
  }
}
template <class... A>
static void launch_any(void (*k)(A...), void **values, bool backwards) {
  launch_kernel(k, values, backwards, std::index_sequence_for<A...>{});
}
extern "C" void launch(const unsigned *sizes, void **values, bool backwards, char *text) {
  gridDim = {sizes[0], sizes[1], sizes[2]};
  blockDim = {sizes[3], sizes[4], sizes[5]};
  message = text;
  dynamic_shared(sizes[6]);
  forget();
  launch_any(kernel, values, backwards);
}
"""
