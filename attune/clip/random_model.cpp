#include "attune/clip/random_model.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/clip/text_tower.h"
#include "attune/clip/vit.h"
#include "attune/clip/weights.h"

namespace attune {

ClipConfig vit_b16_config() {
  ClipConfig config;
  config.name = "ViT-B/16";
  return config;
}

ClipModel random_model(const ClipConfig& config, std::uint64_t seed, const LoadOptions& options) {
  ClipModel model;
  model.config = config;
  model.preprocess.size = static_cast<int>(config.vision.image_size);
  model.device = options.device;
  model.products = options.products;
  model.tokenizer = std::make_shared<const Tokenizer>(Tokenizer::load(models_folder() / "pocket"));
  if (model.tokenizer->size() > config.text.vocabulary) {
    throw Error(fmt::format("random model: expected a vocabulary of at least {} entries, found {}",
                            model.tokenizer->size(), config.text.vocabulary));
  }
  if (options.text) {
    const NamedTensors source{random_text_tensors(config, seed), "random weights"};
    model.text = make_text_tower(config.text, frozen_text_weights(config, source, options.device, options.products));
  }
  if (options.image) {
    const NamedTensors source{random_vit_tensors(config, seed), "random weights"};
    model.image = make_vit(config.vision, frozen_vit_weights(config, source, options.device, options.products));
  }
  return model;
}

}  // namespace attune
