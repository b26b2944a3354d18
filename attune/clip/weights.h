#pragma once

#include <filesystem>
#include <string>

#include "attune/clip/model.h"
#include "attune/clip/text_tower.h"
#include "attune/clip/vit.h"

namespace attune {

/// Named tensors and where they came from, for errors.
struct NamedTensors {
  TensorMap tensors;
  std::string origin;  // a file's name

  bool contains(const std::string& name) const { return tensors.contains(name); }
  /// The tensor in fp32 on the CPU. Throws Error that names origin and tensor where it is missing or has another shape.
  Tensor take(const std::string& name, at::IntArrayRef shape) const;
};

/// SHA-256 over the files of a folder's weights; `path` is a safetensors file or an index of shards. Unchanged files
/// are read once where `hashes` names a folder that remembers.
std::string hash_of_weights(const std::filesystem::path& path, const std::filesystem::path& hashes = {});

/// Sizes of the blocks of one tower.
struct BlockShape {
  std::int64_t width, hidden, layers, heads;
  Activation activation;
  double epsilon;
};
/// The blocks "PREFIX0.", "PREFIX1.", ... from tensors named within a block as those of a Hugging Face CLIP are.
Transformer<FrozenLinear> frozen_blocks(const BlockShape& shape, const std::string& prefix, const NamedTensors& source,
                                        at::Device device = at::kCPU, at::ScalarType products = at::kFloat);
Transformer<Linear> trainable_blocks(const BlockShape& shape, const std::string& prefix, const NamedTensors& source);

/// Towers from tensors with the names of a Hugging Face CLIP ("text_model.encoder.layers.0.self_attn.q_proj.weight").
/// Where "...self_attn.qkv_proj.weight" and ".bias" exist they stand for q, k and v. Frozen weights may share the
/// memory of `source`; trainable ones are leaves of their own that require gradients. `products` is the type of the
/// frozen layers' products (see FrozenLinear).
TextWeights<FrozenLinear> frozen_text_weights(const ClipConfig& config, const NamedTensors& source,
                                              at::Device device = at::kCPU, at::ScalarType products = at::kFloat);
TextWeights<Linear> trainable_text_weights(const ClipConfig& config, const NamedTensors& source);
VitWeights<FrozenLinear> frozen_vit_weights(const ClipConfig& config, const NamedTensors& source,
                                            at::Device device = at::kCPU, at::ScalarType products = at::kFloat);
VitWeights<Linear> trainable_vit_weights(const ClipConfig& config, const NamedTensors& source);

/// Random tensors under the same names, distributed as the CLIP paper's code begins: for a training from nothing.
TensorMap random_text_tensors(const ClipConfig& config, std::uint64_t seed);
TensorMap random_vit_tensors(const ClipConfig& config, std::uint64_t seed);

/// The leaves of trainable towers by name, q, k and v fused under "qkv_proj": for optimisers and checkpoints. The
/// trainable_* functions take these names too.
TensorMap parameters_of(const TextWeights<Linear>& weights);
TensorMap parameters_of(const VitWeights<Linear>& weights);
TensorMap parameters_of(const Transformer<Linear>& transformer, const std::string& prefix);

/// Fused names and matrices as Hugging Face writes them: q, k and v apart, the patch matrix as a convolution.
TensorMap hugging_face_tensors(const ClipConfig& config, const TensorMap& parameters);

/// What a Hugging Face folder holds beside the weights.
struct FolderParts {
  ClipConfig config;
  Preprocess preprocess;
  std::int64_t start = 49406, end = 49407;  // ids of the special tokens
  double logit_scale = 100.0;               // exp of the stored parameter
  std::filesystem::path tokenizer;          // tokenizer.json to copy; empty: none is written
};

/// Writes config.json, model.safetensors, preprocessor_config.json and tokenizer.json, such that transformers'
/// CLIPModel.from_pretrained loads the folder. `parameters` as parameters_of or Hugging Face names them; `type` is
/// at::kFloat or at::kHalf.
void write_hugging_face_folder(const std::filesystem::path& folder, const FolderParts& parts,
                               const TensorMap& parameters, at::ScalarType type);

}  // namespace attune
