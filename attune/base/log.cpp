#include "attune/base/log.h"

#include <atomic>
#include <mutex>
#include <utility>

namespace attune {
namespace {

std::mutex mutex;
LogSink& sink() {
  static LogSink instance;
  return instance;
}
std::atomic<bool> stop{false};

void send(Severity severity, std::string_view text) {
  const std::lock_guard lock(mutex);
  if (sink()) sink()(severity, text);
}

}  // namespace

void set_log_sink(LogSink next) {
  const std::lock_guard lock(mutex);
  sink() = std::move(next);
}

void log_info(std::string_view text) {
  send(Severity::kInfo, text);
}
void log_warning(std::string_view text) {
  send(Severity::kWarning, text);
}

void request_stop() {
  stop = true;
}
bool stop_requested() {
  return stop;
}

}  // namespace attune
