"""The C++ in which CUDA text runs on the host: threads, barriers, shuffles, shared memory, checks.

`HOST` gives CUDA's words a meaning on one core. Without barriers the threads of a block run one
after the other; with them each is a fiber (a stack of its own), which runs up to the next barrier
and waits there for the others. Always in the same order, so results repeat; `backwards` turns the
order around, so that what depends on it, a race, shows.

What a GPU would leave undefined stops the kernel with a message that names line, block and thread:

- a barrier, or a shuffle, that not all threads of the block, or of the warp, reach;
- an index outside an array of known size (a tile, the registers), a misaligned vector load,
  an integer overflow, a division by 0: the compiler's own sanitizer reports them to us.

Shared memory is filled with NaN before every block; with `leftovers`, for a grader, only before the
first one, so that a block finds there what the block before it has left, as on a GPU.
"""

HOST = r"""
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <utility>
using std::min; using std::max; using std::floor; using std::ceil; using std::abs; using std::round;
using std::sqrt; using std::exp; using std::size_t;
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((used, section("shared_memory")))
struct dim3 { unsigned x, y, z; };
static dim3 threadIdx, blockIdx, blockDim, gridDim;

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

#define __builtin_assume(truth) if (!(truth)) fail("it was assumed that " #truth, __LINE__)
static int __popc(unsigned n) { return __builtin_popcount(n); }
static int __popcll(unsigned long long n) { return __builtin_popcountll(n); }
static int __ffs(int n) { return __builtin_ffs(n); }
static int __ffsll(long long n) { return __builtin_ffsll(n); }
"""

ALONE = r"""
static jmp_buf home;
static void leave() { longjmp(home, 1); }
template <class Call> static void run_block(Call call, bool backwards) {
  unsigned count = blockDim.x * blockDim.y * blockDim.z;
  for (unsigned k = 0; k < count; ++k) {
    unsigned t = backwards ? count - 1 - k : k;
    threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    if (setjmp(home)) return;
    call();
  }
}
static char *dynamic_shared(size_t) { return nullptr; }
static void forget_shared() {}
"""

TOGETHER = r"""
#include <ucontext.h>
#include <vector>
enum State { READY, AT_BARRIER, AT_WARP, DONE };
struct Fiber { ucontext_t context; std::vector<char> stack; dim3 index; State state; int line; };
static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static unsigned current;
static void (*thread_body)(void *);
static void *thread_argument;

static void leave() { setcontext(&scheduler); __builtin_unreachable(); }
static void start() {
  thread_body(thread_argument);
  fibers[current].state = DONE;
  setcontext(&scheduler);
}
static void wait(State state, int line) {
  fibers[current].state = state;
  fibers[current].line = line;
  swapcontext(&fibers[current].context, &scheduler);
}
#define __syncthreads() wait(AT_BARRIER, __LINE__)
#define __syncwarp() wait(AT_WARP, __LINE__)

// A lane leaves its value, waits for its warp, takes another's, and waits until all have taken.
static unsigned long long left[1024];
template <class V> static V shuffle(V value, int lane, int line) {
  memcpy(&left[current], &value, sizeof value);
  wait(AT_WARP, line);
  if (0 <= lane && lane < 32) memcpy(&value, &left[current / 32 * 32 + lane], sizeof value);
  wait(AT_WARP, line);
  return value;
}
static unsigned ballot(bool vote, int line) {
  unsigned votes = 0;
  left[current] = vote;
  wait(AT_WARP, line);
  for (int k = 0; k < 32; ++k) votes |= unsigned(left[current / 32 * 32 + k]) << k;
  wait(AT_WARP, line);
  return votes;
}
#define LANE int(current % 32)
#define __shfl_sync(mask, value, lane) shuffle(value, lane, __LINE__)
#define __shfl_down_sync(mask, value, step) shuffle(value, LANE + (step), __LINE__)
#define __shfl_up_sync(mask, value, step) shuffle(value, LANE - (step), __LINE__)
#define __shfl_xor_sync(mask, value, bits) shuffle(value, LANE ^ (bits), __LINE__)
#define __ballot_sync(mask, vote) ballot(vote, __LINE__)

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

static void forget_shared() {
  memset(__start_shared_memory, 0xFF, __stop_shared_memory - __start_shared_memory);
  dynamic_memory.assign(dynamic_memory.size(), char(0xFF));
}

static void report(unsigned k, const char *what) {           // in the name of thread k
  threadIdx = fibers[k].index;
  snprintf(message, 300, "line %d, block (%u, %u, %u), thread (%u, %u, %u): %s", fibers[k].line,
           blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z, what);
}

// Let a warp go on, if its 32 lanes all wait at the same shuffle. False: at a barrier, or done.
static bool release_warp(unsigned first, unsigned end) {
  unsigned at = first, waiting = 0;
  for (unsigned k = first; k < end; ++k) {
    if (fibers[k].state != AT_WARP) continue;
    at = k;
    waiting += fibers[k].line == fibers[first].line;
  }
  if (fibers[at].state != AT_WARP) return false;
  if (waiting < 32) {
    report(at, "waits for its warp, of which other threads are elsewhere");
    return false;
  }
  for (unsigned k = first; k < end; ++k) fibers[k].state = READY;
  return true;
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
  thread_body = [](void *argument) { (*(Call *)argument)(); };
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
    for (Fiber &f : fibers) f.state = READY;
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
extern "C" void fenced_launch(const unsigned *sizes, void **values, bool backwards,
                              bool with_leftovers, char *text) {
  struct sigaction before, now = {};
  now.sa_sigaction = outside;
  now.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &now, &before);
  leftovers = with_leftovers;
  launch(sizes, values, backwards, text);
  sigaction(SIGSEGV, &before, nullptr);
}
"""

LAUNCH = r"""
static bool leftovers;
template <class... A, size_t... I>
static void launch_kernel(void (*k)(A...), void **values, bool backwards,
                          std::index_sequence<I...>) {
  unsigned count = gridDim.x * gridDim.y * gridDim.z;
  for (unsigned each = 0; each < count && !*message; ++each) {
    unsigned b = backwards ? count - 1 - each : each;
    blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
    if (each == 0 || !leftovers) forget_shared();
    run_block([&] { k(*(A *)values[I]...); }, backwards);
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
  launch_any(kernel, values, backwards);
}
"""
