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
  /// What is learned: the embeddings themselves, or an offset on the start, as GLIP tunes its prompts. The embeddings
  /// get the same gradients; a weight decay draws them to 0 or to the start.
  enum class Form { kEmbeddings, kOffset };

  /// `start` [concepts, d] or [concepts, n, d]. A task is needed for stages() only, and must outlive these.
  ConceptSearch(const Tensor& start, const OptimSettings& settings, Task* task = nullptr,
                Form form = Form::kEmbeddings);

  /// Of the start's sizes, without a gradient.
  Tensor embeddings() const { return current().detach(); }
  /// The same with the learned tensor's gradient.
  Tensor current() const { return form_ == Form::kOffset ? start_ + learned_ : learned_; }
  Parameter parameter() const { return {form_ == Form::kOffset ? "offset" : "embeddings", learned_}; }
  /// One stage, whose batches name samples and need nothing else.
  Stages stages(const TrainingData& data) override;
  TensorMap state() const override;
  void load_state(const TensorMap& state) override;

 private:
  Form form_;
  Tensor start_;    // of an offset
  Tensor learned_;  // the embeddings or the offset
  OptimSettings settings_;
  Task* task_;
};

/// n embeddings a concept [concepts, n, d] from one [concepts, d]: the first is the concept's, the others lie a little
/// beside it in random directions, since equal ones would stay equal.
Tensor several_concepts(const Tensor& concepts, std::int64_t n, std::uint64_t seed);
/// Rows [concepts, d] of unit length in random directions.
Tensor random_concepts(std::int64_t concepts, std::int64_t width, std::uint64_t seed);

}  // namespace attune
