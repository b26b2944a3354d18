#include "attune/tasks/detector_tuning.h"

#include "attune/tasks/tower_lora.h"

namespace attune {

TunedModel tuned_detector(const OwlVit& detector, const DetectionTask& task, const TuningSettings& settings,
                          std::uint64_t seed) {
  const ClipConfig& config = detector.config();
  TunedModel model;
  std::function<Sight(const Tensor&)> see_now;
  if (settings.what == TuningSettings::What::kAll) {
    const OwlWeights<Linear> weights = trainable_owl_weights(config, read_owl_tensors(detector.folder()));
    add_state(model.learned, kChangedDetector, parameters_of(weights));
    see_now = [&detector, weights](const Tensor& pixels) { return see(detector.config().vision, weights, pixels); };
  } else {
    const TensorMap lora = first_tower_lora(config.vision, settings.rank, seed);
    add_state(model.learned, kTowerLora, lora);
    see_now = [&detector, tuning = tower_lora(lora, config.vision)](const Tensor& pixels) {
      return see(detector.config().vision, detector.weights(), pixels, tuning);
    };
  }
  model.loss = [&task, see_now](const Tensor& embeddings, const std::vector<std::int64_t>& samples) {
    return task.loss_seeing(see_now, embeddings, samples);
  };
  return model;
}

}  // namespace attune
