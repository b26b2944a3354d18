#pragma once

#include <string>
#include <vector>

#include "attune/methods/learner.h"

namespace attune {

/// A domain that is learned from.
struct SourceDomain {
  std::string name;
  std::int64_t index;  // negative: the data set has no domains, all samples are one
};
std::vector<SourceDomain> source_domains(const TrainingData& data);

/// A learned prompt for every domain that is learned from.
class DomainPrompts {
 public:
  struct Entry {
    std::string domain;
    Tensor prompt;  // [M, width], a leaf
  };

  /// `start` [M, width]: what every prompt begins as.
  explicit DomainPrompts(Tensor start) : start_(std::move(start)) {}

  const Tensor& start() const { return start_; }
  const std::vector<Entry>& all() const { return entries_; }
  /// The prompt of a domain; made when it is first asked for.
  Tensor of(const std::string& domain);
  /// Prompts [B, M, width], without gradients, of the domains of a batch's samples, whose indices are those of
  /// `domains`. Throws Error for a domain that has none.
  Tensor of(const Batch& batch, const std::vector<DomainSamples>& domains) const;

  /// By domain, detached, sharing memory.
  TensorMap state() const;

 private:
  Tensor start_;
  std::vector<Entry> entries_;
};

}  // namespace attune
