#pragma once

#include <functional>
#include <optional>

#include "attune/tasks/concept_search.h"

namespace attune {

/// The second stage of ConES: the embeddings that were found are kept, or learned on, while the image side of the model
/// that they were searched for is fine-tuned (settings of GLIP's own fine-tuning; the rest inferred).
struct TuningSettings {
  enum class What { kAll, kLora } what = What::kAll;  // every weight, or low-rank deltas of the image tower
  bool learn_embeddings = true;
  std::int64_t rank = 4;  // of the deltas
  OptimSettings optim;

  static Schema schema();
  /// None where the configuration asks for no epoch of it. Throws UsageError that names the key.
  static std::optional<TuningSettings> read(const Config& config);
};

/// A model as a second stage sees it: what of it learns, named as an adapter holds it, and the loss of samples under
/// embeddings [concepts, d], with gradients to both.
struct TunedModel {
  TensorMap learned;
  std::function<Objective(const Tensor& embeddings, const std::vector<std::int64_t>& samples)> loss;
};

/// Both stages of a search.
class ConceptTuning final : public Learner {
 public:
  /// The search must outlive it.
  ConceptTuning(ConceptSearch& search, TunedModel model, const TuningSettings& settings);

  Stages stages(const TrainingData& data) override;
  /// The search's state; from the second stage on also "searched", the embeddings that it found, and what the model
  /// learned.
  TensorMap state() const override;
  void load_state(const TensorMap& state) override;
  /// What the first stage found, of the search's sizes.
  Tensor searched() const { return searched_.defined() ? searched_ : search_.embeddings(); }

 private:
  ConceptSearch& search_;
  TunedModel model_;
  TuningSettings settings_;
  Tensor searched_;  // once the second stage has begun
};

}  // namespace attune
