#include "attune/tensors/tensor.h"

#include <memory>
#include <vector>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/formats/tensor_source.h"

namespace attune {
namespace {

at::ScalarType scalar_type(DType type) {
  switch (type) {
    case DType::kBool:
      return at::kBool;
    case DType::kU8:
      return at::kByte;
    case DType::kI8:
      return at::kChar;
    case DType::kI16:
      return at::kShort;
    case DType::kU16:
      return at::kUInt16;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kI32:
      return at::kInt;
    case DType::kU32:
      return at::kUInt32;
    case DType::kF32:
      return at::kFloat;
    case DType::kF64:
      return at::kDouble;
    case DType::kI64:
      return at::kLong;
    case DType::kU64:
      return at::kUInt64;
  }
  throw Error("tensors: a file type that is not known");
}

DType file_type(at::ScalarType type) {
  switch (type) {
    case at::kBool:
      return DType::kBool;
    case at::kByte:
      return DType::kU8;
    case at::kChar:
      return DType::kI8;
    case at::kShort:
      return DType::kI16;
    case at::kUInt16:
      return DType::kU16;
    case at::kHalf:
      return DType::kF16;
    case at::kBFloat16:
      return DType::kBF16;
    case at::kInt:
      return DType::kI32;
    case at::kUInt32:
      return DType::kU32;
    case at::kFloat:
      return DType::kF32;
    case at::kDouble:
      return DType::kF64;
    case at::kLong:
      return DType::kI64;
    case at::kUInt64:
      return DType::kU64;
    default:
      throw Error(fmt::format("tensors: safetensors cannot hold the type {}", c10::toString(type)));
  }
}

// LibTorch wants a mutable pointer; what is borrowed is never written.
void* data_of(const TensorView& view) {
  return const_cast<std::byte*>(view.bytes.data());
}

}  // namespace

Tensor borrow(const TensorView& view) {
  const auto options = at::TensorOptions().dtype(scalar_type(view.type));
  if (view.bytes.empty()) return at::empty(view.shape, options);
  // A type wider than a byte may lie at an odd offset in a file that another program wrote.
  if (reinterpret_cast<std::uintptr_t>(view.bytes.data()) % bytes_of(view.type) != 0) {
    Tensor copy = at::empty(view.shape, options);
    std::memcpy(copy.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
    return copy;
  }
  return at::from_blob(data_of(view), view.shape, options);
}

TensorView view_of(const Tensor& tensor) {
  if (!tensor.is_cpu() || !tensor.is_contiguous()) {
    throw Error("view_of: expected a contiguous tensor on the CPU");
  }
  const auto* bytes = static_cast<const std::byte*>(tensor.const_data_ptr());
  return {file_type(tensor.scalar_type()), tensor.sizes().vec(), {bytes, tensor.nbytes()}};
}

TensorMap map_tensors(const std::filesystem::path& path, std::string_view stem) {
  const auto file = std::make_shared<const TensorSource>(path, stem);
  TensorMap tensors;
  for (const auto& [name, view] : file->tensors()) {
    Tensor tensor = borrow(view);
    if (!view.bytes.empty() && tensor.const_data_ptr() == view.bytes.data()) {
      tensor = at::from_blob(
          data_of(view), view.shape, [file](void*) {}, tensor.options());
    }
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

TensorMap load_tensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  TensorMap tensors;
  for (const auto& [name, view] : file.tensors()) tensors.emplace(name, borrow(view).clone());
  return tensors;
}

void save_tensors(const std::filesystem::path& path, const TensorMap& tensors,
                  const std::map<std::string, std::string>& metadata) {
  std::vector<Tensor> kept;
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined()) throw Error(fmt::format("{}: tensor '{}' is undefined", path.string(), name));
    kept.push_back(tensor.detach().to(at::kCPU).contiguous());
    views.emplace(name, view_of(kept.back()));
  }
  write_safetensors(path, views, metadata);
}

namespace {

template <class Draw>
Tensor fill(at::IntArrayRef shape, Draw draw) {
  Tensor tensor = at::empty(shape, at::kFloat);
  auto* values = tensor.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(draw());
  return tensor;
}

}  // namespace

Tensor normal(at::IntArrayRef shape, double mean, double deviation, KeyedRandom& random) {
  return fill(shape, [&] { return mean + deviation * random.normal(); });
}

Tensor uniform(at::IntArrayRef shape, double low, double high, KeyedRandom& random) {
  return fill(shape, [&] { return random.uniform(low, high); });
}

}  // namespace attune
