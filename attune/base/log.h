#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace attune {

enum class Severity { kInfo, kWarning };

/// Where the library's messages go. Without a sink they are dropped: the library itself never prints.
using LogSink = std::function<void(Severity, std::string_view)>;
void set_log_sink(LogSink sink);
void log_info(std::string_view text);
void log_warning(std::string_view text);

/// Where long work says how far it is; the program draws a bar. Called from one thread at a time.
class Progress {
 public:
  virtual ~Progress() = default;
  /// `done` of `total` units (`total` 0: unknown); `note` is a short text such as the current loss.
  virtual void update(std::int64_t done, std::int64_t total, std::string_view note) = 0;
  virtual void finish() {}
};

/// Asked between the steps of long work; true after a request to stop (SIGINT or SIGTERM in the program).
void request_stop();
bool stop_requested();

}  // namespace attune
