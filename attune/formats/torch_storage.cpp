#include "attune/formats/torch_storage.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/formats/bytes.h"

namespace attune {
namespace {

using Kind = PickleValue::Kind;

struct TorchType {
  std::string_view storage, scalar;
  DType type;
};
constexpr std::array<TorchType, 13> kStorageTypes = {{{"torch.BoolStorage", "torch.bool", DType::kBool},
                                                      {"torch.ByteStorage", "torch.uint8", DType::kU8},
                                                      {"torch.CharStorage", "torch.int8", DType::kI8},
                                                      {"torch.ShortStorage", "torch.int16", DType::kI16},
                                                      {"", "torch.uint16", DType::kU16},
                                                      {"torch.HalfStorage", "torch.float16", DType::kF16},
                                                      {"torch.BFloat16Storage", "torch.bfloat16", DType::kBF16},
                                                      {"torch.IntStorage", "torch.int32", DType::kI32},
                                                      {"", "torch.uint32", DType::kU32},
                                                      {"torch.FloatStorage", "torch.float32", DType::kF32},
                                                      {"torch.DoubleStorage", "torch.float64", DType::kF64},
                                                      {"torch.LongStorage", "torch.int64", DType::kI64},
                                                      {"", "torch.uint64", DType::kU64}}};

std::optional<std::uint64_t> whole(const PickleValue& value) {
  if (value.kind != Kind::kInteger || value.integer < 0) return std::nullopt;
  return static_cast<std::uint64_t>(value.integer);
}

/// A size or strides: a tuple or list of numbers from 0.
std::vector<std::uint64_t> whole_numbers(const Pickle& pickle, const PickleValue& value, const std::string& where) {
  constexpr std::size_t kMostAxes = 64;
  const auto broken = [&] {
    return Error(fmt::format("{}: expected at most {} whole numbers from 0 as size and strides", where, kMostAxes));
  };
  const PickleValue* list = &value;
  // torch.Size(...) around the tuple.
  if (value.kind == Kind::kRecord && value.arguments != PickleValue::kNowhere) {
    const PickleValue& arguments = pickle.at(value.arguments);
    if (arguments.items.size() == 1) list = &pickle.at(arguments.items[0]);
  }
  if ((list->kind != Kind::kTuple && list->kind != Kind::kList) || list->items.size() > kMostAxes) throw broken();
  std::vector<std::uint64_t> numbers;
  for (const PicklePlace place : list->items) {
    const auto number = whole(pickle.at(place));
    if (!number) throw broken();
    numbers.push_back(*number);
  }
  return numbers;
}

struct Layout {
  std::uint64_t begin = 0;
  std::vector<std::uint64_t> size, strides;
  std::uint64_t count = 1;  // elements
};

/// Checks that every element lies among the `available` elements of the storage.
void check_bounds(Layout& layout, std::uint64_t available, const std::string& where) {
  if (layout.size.size() != layout.strides.size()) throw Error(where + ": expected as many strides as axes");
  bool overflow = false;
  for (const std::uint64_t extent : layout.size) {
    overflow = overflow || __builtin_mul_overflow(layout.count, extent, &layout.count);
  }
  if (std::find(layout.size.begin(), layout.size.end(), 0U) != layout.size.end()) {
    layout.count = 0;
    return;
  }
  std::uint64_t last = layout.begin;
  for (std::size_t i = 0; i < layout.size.size(); ++i) {
    std::uint64_t reach = 0;
    overflow = overflow || __builtin_mul_overflow(layout.size[i] - 1, layout.strides[i], &reach) ||
               __builtin_add_overflow(last, reach, &last);
  }
  if (overflow || last >= available) {
    throw Error(fmt::format("{}: expected size and strides within a storage of {} elements", where, available));
  }
}

bool is_contiguous(const Layout& layout) {
  std::uint64_t expected = 1;
  for (std::size_t i = layout.size.size(); i-- > 0;) {
    if (layout.size[i] != 1 && layout.strides[i] != expected) return false;
    expected *= layout.size[i];
  }
  return true;
}

/// Copies the elements in the order of rows. The layout was checked.
std::vector<std::byte> gather(const Layout& layout, std::span<const std::byte> storage, std::size_t element) {
  std::vector<std::byte> bytes(layout.count * element);
  if (layout.count == 0) return bytes;
  if (is_contiguous(layout)) {
    std::memcpy(bytes.data(), storage.data() + layout.begin * element, bytes.size());
    return bytes;
  }
  std::vector<std::uint64_t> index(layout.size.size(), 0);
  std::uint64_t from = layout.begin;
  for (std::uint64_t to = 0; to < layout.count; ++to) {
    std::memcpy(bytes.data() + to * element, storage.data() + from * element, element);
    for (std::size_t axis = index.size(); axis-- > 0;) {
      from += layout.strides[axis];
      if (++index[axis] < layout.size[axis]) break;
      from -= layout.strides[axis] * layout.size[axis];
      index[axis] = 0;
    }
  }
  return bytes;
}

}  // namespace

std::optional<DType> torch_type(std::string_view name) {
  for (const TorchType& known : kStorageTypes) {
    if (name == known.scalar || (!known.storage.empty() && name == known.storage)) return known.type;
  }
  return std::nullopt;
}

std::optional<StorageId> storage_id(const Pickle& pickle, const PickleValue& value) {
  if (value.kind != Kind::kPersistent) return std::nullopt;
  const PickleValue& tuple = pickle.at(value.arguments);
  if (tuple.kind != Kind::kTuple || tuple.items.size() < 5) return std::nullopt;
  const auto item = [&](std::size_t i) -> const PickleValue& { return pickle.at(tuple.items[i]); };
  const auto count = whole(item(4));
  if (item(0).kind != Kind::kText || item(0).text != "storage" || item(1).kind != Kind::kGlobal ||
      item(2).kind != Kind::kText || !count) {
    return std::nullopt;
  }
  StorageId id{torch_type(item(1).text), item(1).text, item(2).text, *count, 0, std::nullopt};
  if (tuple.items.size() > 5 && item(5).kind == Kind::kTuple && item(5).items.size() == 3) {
    const auto begin = whole(pickle.at(item(5).items[1])), size = whole(pickle.at(item(5).items[2]));
    if (!begin || !size) return std::nullopt;
    id.view_begin = *begin;
    id.view_count = *size;
  }
  return id;
}

std::span<const std::byte> ZipStorages::find(const StorageId& id) {
  const auto known = found_.find(id.key);
  if (known != found_.end()) return known->second;
  const auto content = zip_.content(root_ + "/data/" + id.key, inflated_[id.key]);
  found_.emplace(id.key, content);
  return content;
}

SequentialStorages::SequentialStorages(std::span<const std::byte> bytes, const Pickle& pickle, std::string_view name)
    : name_(name) {
  std::map<std::string, std::size_t> element_sizes;
  for (const PickleValue& value : pickle.values()) {
    const auto id = storage_id(pickle, value);
    if (!id) continue;
    const std::size_t size = id->type ? bytes_of(*id->type) : 1;
    if (element_sizes.emplace(id->key, size).first->second != size) {
      throw Error(fmt::format("{}: expected one type for storage {}", name, id->key));
    }
  }
  const Pickle keys(bytes, name);
  bytes = bytes.subspan(keys.size());
  if (keys.root().kind != Kind::kList) throw Error(fmt::format("{}: expected a list of storages", name));
  for (const PicklePlace place : keys.root().items) {
    const std::string& key = keys.at(place).text;
    const auto element = element_sizes.find(key);
    if (element == element_sizes.end()) throw Error(fmt::format("{}: expected storage {} to be in use", name, key));
    const std::uint64_t count = bytes.size() < 8 ? 0 : little_endian<std::uint64_t>(bytes);
    if (bytes.size() < 8 || count > (bytes.size() - 8) / element->second) {
      throw Error(fmt::format("{}: expected all of storage {}, found the end of the file", name, key));
    }
    if (!found_.emplace(key, bytes.subspan(8, count * element->second)).second) {
      throw Error(fmt::format("{}: expected storage {} once, found it twice", name, key));
    }
    bytes = bytes.subspan(8 + count * element->second);
  }
}

std::span<const std::byte> SequentialStorages::find(const StorageId& id) {
  const auto found = found_.find(id.key);
  if (found == found_.end()) throw Error(fmt::format("{}: expected storage {}, which is missing", name_, id.key));
  return found->second;
}

ArchiveTensor rebuild_tensor(const Pickle& pickle, std::string_view function, const PickleValue& arguments,
                             StorageBytes& storages, std::uint64_t limit, const std::string& where) {
  if (arguments.kind != Kind::kTuple || arguments.items.size() < 4) {
    throw Error(where + ": expected storage, offset, size and strides of a tensor");
  }
  const auto argument = [&](std::size_t i) -> const PickleValue& { return pickle.at(arguments.items[i]); };
  const auto id = storage_id(pickle, argument(0));
  if (!id) throw Error(where + ": expected a storage as first argument of a tensor");
  std::optional<DType> type = id->type;
  std::string type_name = id->class_name;
  if (function == "torch._utils._rebuild_tensor_v3" && arguments.items.size() > 6) {
    type_name = argument(6).text;
    type = torch_type(type_name);
  }
  if (!type) throw Error(fmt::format("{}: expected a tensor type that safetensors has, found {}", where, type_name));
  const std::size_t element = bytes_of(*type);

  Layout layout;
  const auto begin = whole(argument(1));
  if (!begin) throw Error(where + ": expected an offset from 0");
  layout.begin = *begin;
  layout.size = whole_numbers(pickle, argument(2), where);
  layout.strides = whole_numbers(pickle, argument(3), where);
  std::span<const std::byte> storage = storages.find(*id);
  const std::size_t unit = id->type ? bytes_of(*id->type) : 1;
  if (id->view_count) {
    const std::uint64_t all = storage.size() / unit;
    if (id->view_begin > all || *id->view_count > all - id->view_begin) {
      throw Error(fmt::format("{}: expected a view within a storage of {} elements", where, all));
    }
    storage = storage.subspan(id->view_begin * unit, *id->view_count * unit);
  } else if (id->count > storage.size() / unit) {
    throw Error(fmt::format("{}: expected a storage of {} elements, found {} bytes", where, id->count, storage.size()));
  }
  check_bounds(layout, storage.size() / element, where);
  if (layout.count > limit / element) {
    throw Error(
        fmt::format("{}: expected tensors of at most four times the size of the file together, found more", where));
  }
  ArchiveTensor tensor{*type, {layout.size.begin(), layout.size.end()}, gather(layout, storage, element)};
  if (*type == DType::kBool) {
    for (std::byte& byte : tensor.bytes) byte = byte == std::byte{0} ? std::byte{0} : std::byte{1};
  }
  return tensor;
}

}  // namespace attune
