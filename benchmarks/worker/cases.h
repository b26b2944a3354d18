#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "attune/tensors/tensor.h"

namespace attune {

/// What a case works on: a model folder, and a safetensors file with the lists of names beside it.
struct Inputs {
  std::string model;
  std::filesystem::path file;
};

/// One piece of work that both sides do and time.
class Case {
 public:
  virtual ~Case() = default;
  /// Does the work once; the loss of a step, or the sum of absolute values of what was computed.
  virtual double round() = 0;
  /// What the last round left, to be compared with the peer's.
  virtual TensorMap results() const = 0;
};

/// Throws UsageError that lists the cases.
std::unique_ptr<Case> make_case(const std::string& name, const Inputs& inputs);

}  // namespace attune
