#pragma once

#include <memory>
#include <string>
#include <vector>

#include "attune/optim/settings.h"
#include "attune/tasks/task.h"

namespace attune {

/// ConES: embeddings of concepts, one a concept, found by descent on the loss of a frozen task,
///   E <- E - step(dL(E) / dE),
/// where a text encoder's output would stand. The encoder takes no part: wherever the search begins, it may be gone.
class ConceptSearch final : public Learner {
 public:
  /// `start` [concepts, d]. A task is needed for stages() only, and must outlive these.
  ConceptSearch(const Tensor& start, const OptimSettings& settings, Task* task = nullptr);

  /// [concepts, d], without a gradient.
  Tensor embeddings() const { return embeddings_.detach(); }
  /// One stage, whose batches name samples and need nothing else.
  Stages stages(const TrainingData& data) override;
  TensorMap state() const override { return {{"embeddings", embeddings_.detach()}}; }
  void load_state(const TensorMap& state) override;

 private:
  Tensor embeddings_;
  OptimSettings settings_;
  Task* task_;
};

/// Rows [concepts, d] of unit length in random directions.
Tensor random_concepts(std::int64_t concepts, std::int64_t width, std::uint64_t seed);

}  // namespace attune
