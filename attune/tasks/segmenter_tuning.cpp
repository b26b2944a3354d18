#include "attune/tasks/segmenter_tuning.h"

#include "attune/tasks/tower_lora.h"

namespace attune {

TunedModel tuned_segmenter(const ClipSeg& segmenter, const SegmentationTask& task, const TuningSettings& settings,
                           std::uint64_t seed) {
  ClipSegConfig config = describe_clipseg(segmenter.folder());
  config.clip.vision = decoded_tower(config);
  TunedModel model;
  SegmentNow segment;
  if (settings.what == TuningSettings::What::kAll) {
    const NamedTensors source = clipseg_tensors(segmenter.folder());
    const VitWeights<Linear> tower = trainable_vit_weights(config.clip, source);
    const MaskDecoder decoder(config.decoder, source, /*trains=*/true);
    add_state(model.learned, kChangedSegmenter, mask_parameters(tower, decoder));
    segment = [config, tower, decoder](const Tensor& pixels, const Tensor& conditions) {
      return decoder.logits(extracted(config.clip.vision, tower, pixels, config.extract), conditions);
    };
  } else {
    const TensorMap lora = first_tower_lora(config.clip.vision, settings.rank, seed);
    add_state(model.learned, kTowerLora, lora);
    segment = [&segmenter, tuning = tower_lora(lora, config.clip.vision)](const Tensor& pixels,
                                                                          const Tensor& conditions) {
      return segmenter.logits(segmenter.look_tuned(pixels, tuning), conditions);
    };
  }
  model.loss = [&task, segment](const Tensor& embeddings, const std::vector<std::int64_t>& samples) {
    return task.loss_seeing(segment, embeddings, samples);
  };
  return model;
}

}  // namespace attune
