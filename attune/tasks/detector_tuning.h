#pragma once

#include <memory>
#include <optional>

#include "attune/tasks/concept_search.h"
#include "attune/tasks/detection.h"

namespace attune {

/// The second stage of ConES on a detector: the embeddings that were found are kept, or learned on, while the image
/// side is fine-tuned (settings of GLIP's own fine-tuning; the rest inferred).
struct TuningSettings {
  enum class What { kAll, kLora } what = What::kAll;  // every weight, or low-rank deltas of the image tower
  bool learn_embeddings = true;
  std::int64_t rank = 4;  // of the deltas
  OptimSettings optim;

  static Schema schema();
  /// None where the configuration asks for no epoch of it. Throws UsageError that names the key.
  static std::optional<TuningSettings> read(const Config& config);
};

/// Both stages of a search on a detector.
class DetectorTuning final : public Learner {
 public:
  /// All must outlive it. The detector's weights are read again from its folder where all are tuned.
  DetectorTuning(ConceptSearch& search, const OwlVit& detector, DetectionTask& task, const TuningSettings& settings,
                 std::uint64_t seed);

  Stages stages(const TrainingData& data) override;
  /// The search's state; from the second stage on also "searched", the embeddings that it found, and the changes of the
  /// detector as OwlVit::load takes them.
  TensorMap state() const override;
  void load_state(const TensorMap& state) override;
  /// What the first stage found, of the search's sizes.
  Tensor searched() const { return searched_.defined() ? searched_ : search_.embeddings(); }

 private:
  Sight see(const Tensor& pixels) const;
  TensorMap changes() const;

  ConceptSearch& search_;
  const OwlVit& detector_;
  DetectionTask& task_;
  TuningSettings settings_;
  std::optional<OwlWeights<Linear>> weights_;  // where all are tuned
  TensorMap lora_;                             // else
  Tensor searched_;                            // once the second stage has begun
};

}  // namespace attune
