#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string_view>

#include "attune/base/log.h"

namespace attune {

/// Ends a run as a failing machine does, after so many of its samples; work with another total, such as reading the
/// pictures, is let through.
class FailsAt : public Progress {
 public:
  explicit FailsAt(std::int64_t samples, std::optional<std::int64_t> total = std::nullopt)
      : samples_(samples), total_(total) {}
  void update(std::int64_t done, std::int64_t total, std::string_view) override {
    if (total == total_.value_or(total) && done >= samples_) throw std::runtime_error("power failure");
  }

 private:
  std::int64_t samples_;
  std::optional<std::int64_t> total_;
};

}  // namespace attune
