#include "attune/tensors/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>

#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>

// The entry of the OpenMP runtime that LibTorch's own loops use: the same threads, whatever compiles this file.
// NOLINTNEXTLINE(readability-identifier-naming): the runtime's own name
extern "C" void GOMP_parallel(void (*)(void*), void*, unsigned, unsigned);

namespace attune {
namespace {

struct Work {
  Work(std::int64_t parts, const std::function<void(std::int64_t)>& function) : count(parts), part(function) {}

  std::int64_t count;
  const std::function<void(std::int64_t)>& part;
  at::ThreadLocalState state;
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr problem;

  void run() {
    const at::ThreadLocalStateGuard guard(state);
    for (std::int64_t i = next++; i < count; i = next++) {
      try {
        part(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!problem) problem = std::current_exception();
        next = count;
      }
    }
  }
};

}  // namespace

std::int64_t parallel_width() {
  return at::in_parallel_region() ? 1 : at::get_num_threads();
}

std::int64_t parallel_width(double operations) {
  constexpr double kWorthAThread = 3e7;  // about half a millisecond
  const std::int64_t threads = parallel_width();
  if (operations >= kWorthAThread * static_cast<double>(threads)) return threads;
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(operations / kWorthAThread));
}

void in_parallel(std::int64_t count, const std::function<void(std::int64_t)>& part) {
  in_parallel(count, std::numeric_limits<double>::infinity(), part);
}

void in_parallel(std::int64_t count, double operations, const std::function<void(std::int64_t)>& part) {
  const std::int64_t threads = std::min(count, parallel_width(operations));
  if (threads <= 1) {
    for (std::int64_t i = 0; i < count; ++i) part(i);
    return;
  }
  Work work(count, part);
  GOMP_parallel([](void* given) { static_cast<Work*>(given)->run(); }, &work, static_cast<unsigned>(threads), 0);
  if (work.problem) std::rethrow_exception(work.problem);
}

}  // namespace attune
