#include "attune/base/log.h"

#include <atomic>
#include <mutex>
#include <utility>

namespace attune {
namespace {

std::mutex mutex;
LogSink& current_sink() {
  static LogSink instance;
  return instance;
}
std::atomic<bool> stop{false};

void send(Severity severity, std::string_view text) {
  const std::lock_guard lock(mutex);
  if (current_sink()) current_sink()(severity, text);
}

}  // namespace

void set_log_sink(LogSink sink) {
  const std::lock_guard lock(mutex);
  current_sink() = std::move(sink);
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
