#pragma once

#include <cstdint>
#include <memory>

#include "attune/optim/settings.h"
#include "attune/tasks/denoising.h"

namespace attune {

/// What keeps a model that is fine-tuned on a concept from forgetting its kind: pictures of the kind, and what the text
/// encoder says of it (Ruiz et al. 2023, prior preservation).
struct PriorPreservation {
  Task* task = nullptr;  // null: nothing is preserved
  Tensor hidden;         // [n, w]
  double weight = 1.0;
};

/// DreamBooth (Ruiz et al. 2023) as the second stage of a search (the paper's abstract; form inferred): the network is
/// fine-tuned on the concept's pictures while the rows that were found stand for the concept, kept or trained with it,
///   loss = loss(concept) + weight loss(kind).
class DreamBooth final : public Learner {
 public:
  /// The tasks are those of `network`, which is changed; all must outlive the stages.
  DreamBooth(const Tensor& embeddings, bool train_embeddings, std::shared_ptr<TrainableUNet> network,
             const OptimSettings& settings, Task* task, PriorPreservation prior);

  /// [n, w], without a gradient.
  Tensor embeddings() const { return embeddings_.detach(); }
  Stages stages(const TrainingData& data) override;
  /// "embeddings", and the network's tensors as "unet.NAME".
  TensorMap state() const override;
  void load_state(const TensorMap& state) override;

 private:
  Tensor embeddings_;
  std::shared_ptr<TrainableUNet> network_;
  OptimSettings settings_;
  Task* task_;
  PriorPreservation prior_;
};

}  // namespace attune
