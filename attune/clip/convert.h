#pragma once

#include <filesystem>

#include "attune/clip/weights.h"

namespace attune {

/// The configuration of a CLIP, deduced from the shapes of its tensors under OpenAI's names, and where shapes say
/// nothing from what OpenAI released: QuickGELU, heads of width 64, the pooling at the largest id. Throws Error that
/// names the tensor that is missing or makes no sense.
ClipConfig deduce_config(const NamedTensors& source);

/// Turns an OpenAI archive (TorchScript or a state dictionary) into a model folder: Hugging Face's form for a vision
/// transformer, OpenCLIP's for a ResNet, which Hugging Face's cannot express. `tokenizer` is a tokenizer.json to copy,
/// or OpenAI's bpe_simple_vocab_16e6.txt.gz; empty: none is written. Weights are stored as `type`.
void convert_archive(const std::filesystem::path& archive, const std::filesystem::path& folder,
                     const std::filesystem::path& tokenizer, at::ScalarType type);

/// The same for tensors that are already in memory.
void convert_tensors(const NamedTensors& source, const std::filesystem::path& folder,
                     const std::filesystem::path& tokenizer, at::ScalarType type);

}  // namespace attune
