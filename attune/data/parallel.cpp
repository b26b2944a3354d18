#include "attune/data/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "attune/base/error.h"

namespace attune {

void parallel_for(std::int64_t count, int threads, const std::function<void(std::int64_t)>& work, Progress* progress) {
  if (threads < 1) throw UsageError(fmt::format("threads: expected at least 1, found {}", threads));
  std::atomic<std::int64_t> next{0};
  std::atomic<std::int64_t> done{0};
  std::mutex mutex;
  std::exception_ptr problem;
  const auto run = [&](bool reports) {
    for (std::int64_t i = next++; i < count; i = next++) {
      try {
        if (stop_requested()) throw Error("stopped on request");
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!problem) problem = std::current_exception();
        next = count;
      }
      const std::int64_t finished = ++done;
      if (reports && progress != nullptr) progress->update(std::min(finished, count), count, "");
    }
  };
  {
    std::vector<std::jthread> others;
    for (std::int64_t i = 1; i < std::min<std::int64_t>(threads, count); ++i) others.emplace_back(run, false);
    run(true);
  }
  if (problem) std::rethrow_exception(problem);
  if (progress != nullptr) progress->finish();
}

}  // namespace attune
