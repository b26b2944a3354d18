#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <ATen/ATen.h>

#include "attune/base/random.h"
#include "attune/formats/safetensors.h"

namespace attune {

using Tensor = at::Tensor;
/// Named tensors, in the order of their names.
using TensorMap = std::map<std::string, Tensor>;

/// A tensor over the bytes of a view, without a copy: valid only as long as the view's file.
Tensor borrow(const TensorView& view);
/// The bytes of a tensor as a view; the tensor must be contiguous, on the CPU, and outlive the view.
TensorView view_of(const Tensor& tensor);

/// All tensors of a safetensors file, copied, with their types.
TensorMap load_tensors(const std::filesystem::path& path);
/// The tensors of a safetensors file or of a model folder (its shards, see TensorSource), without a copy where
/// alignment allows: they share the mapping, which lives as long as any of them. They must not be written to.
TensorMap map_tensors(const std::filesystem::path& path, std::string_view stem = "model");
/// Writes atomically. Tensors are copied to the CPU and made contiguous first.
void save_tensors(const std::filesystem::path& path, const TensorMap& tensors,
                  const std::map<std::string, std::string>& metadata = {});

/// fp32 tensors whose entries are drawn one after the other from `random`.
Tensor normal(at::IntArrayRef shape, double mean, double deviation, KeyedRandom& random);
Tensor uniform(at::IntArrayRef shape, double low, double high, KeyedRandom& random);

}  // namespace attune
