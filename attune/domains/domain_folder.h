#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "attune/clip/weights.h"
#include "attune/images/preprocess.h"

namespace attune {

/// The shape of a domain model.
struct DomainConfig {
  enum class Kind { kVit, kVitMae, kDinov2, kSam } kind = Kind::kVit;
  std::string type;  // model_type
  BlockShape blocks{768, 3072, 12, 12, Activation::kGelu, 1e-12};
  std::int64_t image_size = 224, patch = 16;
  bool qkv_bias = true;
  std::int64_t decoder_width = 512;  // vit_mae
  // sam
  std::int64_t window = 14, channels = 256;
  std::vector<std::int64_t> global_blocks;  // the others attend within windows
  bool relative_positions = true, absolute_positions = true;
};

/// What the JSON files of a domain model's folder say.
struct DomainDescription {
  DomainConfig config;
  Preprocess preprocess;
};

/// Throws Error that names the file and the key where something is missing, of the wrong type, or asks for another
/// architecture.
DomainDescription describe_domain_folder(const std::filesystem::path& folder);

/// model.safetensors of a folder, or the index of its shards. Throws Error where there is neither.
std::filesystem::path domain_weights(const std::filesystem::path& folder);

/// What the tensors of a block are called in a file, after the number of the block and a dot.
struct BlockNames {
  std::vector<std::string> qkv;  // q, k and v, or the fused one
  std::string out, norm1, norm2, fc1, fc2;
  std::string scale1, scale2;  // factors of a block's two branches (dinov2); empty: none
};
extern const BlockNames kVitNames, kDinov2Names, kSamNames;

/// The blocks "PREFIX0." ... of `source` under the names that frozen_blocks takes, with an empty prefix. Factors of
/// branches are multiplied into the layers before them; biases of q, k and v that a model leaves out are zero.
NamedTensors block_tensors(const NamedTensors& source, const std::string& prefix, const BlockNames& names,
                           const BlockShape& shape, bool qkv_bias = true);
/// The other way, by name: what `values` holds of blocks under `from` and the names of trainable blocks' leaves, under
/// `to` and the names of a file, q, k and v apart.
TensorMap named_blocks(const TensorMap& values, const std::string& from, const std::string& to,
                       const BlockNames& names);

/// The patch convolution as a matrix [width, 3 * patch * patch]. Throws Error as NamedTensors::take.
Tensor patch_matrix(const NamedTensors& source, const std::string& name, std::int64_t width, std::int64_t patch);

}  // namespace attune
