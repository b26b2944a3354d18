#pragma once

#include <filesystem>

#include "attune/clip/weights.h"

namespace attune {

/// What a detector sees in B pictures, whatever it is asked for: K cells, each with a box.
struct Sight {
  Tensor embeddings;    // [B, K, d], of unit length
  Tensor shift, scale;  // [B, K]: a cell's logit is (cosine + shift) * scale
  Tensor boxes;         // [B, K, 4]: centre and size, in shares of the picture's sides

  std::int64_t size() const { return boxes.size(0); }
};

/// The image side of an OWL-ViT; L is Linear where it trains, FrozenLinear where it doesn't.
template <class L>
struct OwlWeights {
  VitWeights<L> vision;  // its projection is not used
  LayerNorm norm;        // of the cells after the class token
  L embed, shift, scale, box0, box1, box2;
  Tensor bias;  // [K, 4]: what is added to the box head, no parameter
};

/// The one forward of the image side: pixels [B, 3, size, size] -> what is seen, with gradients where the weights have
/// them.
template <class L>
Sight see(const VisionConfig& config, const OwlWeights<L>& weights, const Tensor& pixels, const Tuning& tuning = {});

extern template Sight see(const VisionConfig&, const OwlWeights<Linear>&, const Tensor&, const Tuning&);
extern template Sight see(const VisionConfig&, const OwlWeights<FrozenLinear>&, const Tensor&, const Tuning&);

/// From tensors with the names of a Hugging Face folder, without "owlvit." before those of the towers.
OwlWeights<FrozenLinear> frozen_owl_weights(const ClipConfig& config, const NamedTensors& source,
                                            at::Device device = at::kCPU, at::ScalarType products = at::kFloat);
OwlWeights<Linear> trainable_owl_weights(const ClipConfig& config, const NamedTensors& source);

/// The leaves of trainable weights by name, without the projection that no box or logit depends on.
TensorMap parameters_of(const OwlWeights<Linear>& weights);

/// Logits [B, K, C] of queries [C, d]; gradients reach the queries and what is seen. Of queries [C, n, d] the best of a
/// concept's n counts.
Tensor owl_logits(const Sight& sight, const Tensor& queries);

/// What config.json of a folder of the type "owlvit" says. Throws Error that names the file and the key.
ClipConfig read_owl_config(const std::filesystem::path& folder);
/// The tensors of a folder under the names of a CLIP.
NamedTensors read_owl_tensors(const std::filesystem::path& folder);
/// Writes a folder that transformers' OwlViTForObjectDetection.from_pretrained loads: `tensors` as parameters_of or
/// Hugging Face name them, those of the text tower among them; `type` is at::kFloat or at::kHalf.
void write_owl_folder(const std::filesystem::path& folder, const FolderParts& parts, const TensorMap& tensors,
                      at::ScalarType type);

}  // namespace attune
