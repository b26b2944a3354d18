#include "attune/formats/safetensors.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "attune/base/error.h"
#include "attune/base/json.h"

namespace attune {
namespace {

/// What the reference implementation accepts.
constexpr std::uint64_t kLargestHeader = 100'000'000;
constexpr std::string_view kMetadata = "__metadata__";

struct TypeInfo {
  DType type;
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<TypeInfo, 13> kTypes = {{{DType::kBool, "BOOL", 1},
                                              {DType::kU8, "U8", 1},
                                              {DType::kI8, "I8", 1},
                                              {DType::kI16, "I16", 2},
                                              {DType::kU16, "U16", 2},
                                              {DType::kF16, "F16", 2},
                                              {DType::kBF16, "BF16", 2},
                                              {DType::kI32, "I32", 4},
                                              {DType::kU32, "U32", 4},
                                              {DType::kF32, "F32", 4},
                                              {DType::kF64, "F64", 8},
                                              {DType::kI64, "I64", 8},
                                              {DType::kU64, "U64", 8}}};

const TypeInfo& info_of(DType type) {
  return kTypes.at(static_cast<std::size_t>(type));
}

DType type_named(const std::string& name, const std::string& where) {
  for (const TypeInfo& info : kTypes) {
    if (info.name == name) return info.type;
  }
  std::string known;
  for (const TypeInfo& info : kTypes) known += (known.empty() ? "" : ", ") + std::string(info.name);
  throw Error(fmt::format("{}: expected one of the types {}, found {}", where, known, name.substr(0, 40)));
}

/// A plain object with unique keys: a header may hold many thousands of names.
nlohmann::json parse_header(std::string_view text, std::string_view name) {
  constexpr int kDeepest = 4;
  std::array<std::set<std::string>, kDeepest + 1> keys;
  const auto check = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kDeepest)
      throw Error(fmt::format("{}: expected a safetensors header nested at most {} deep", name, kDeepest));
    auto& seen = keys[static_cast<std::size_t>(depth)];
    if (event == Event::object_start && depth < kDeepest) keys[static_cast<std::size_t>(depth) + 1].clear();
    if (event == Event::key && !seen.insert(parsed.get<std::string>()).second) {
      throw Error(fmt::format("{}: expected {} once in the header, found it twice", name, parsed.dump()));
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text, check);
  } catch (const nlohmann::json::exception& problem) {
    throw Error(fmt::format("{}: expected a JSON header of a safetensors file: {}", name, problem.what()));
  }
}

std::uint64_t whole_number(const nlohmann::json& value, const std::string& where) {
  constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > kLargest) {
    throw Error(fmt::format("{}: expected whole numbers from 0 to 2^63 - 1, found {}", where, value.dump()));
  }
  return value.get<std::uint64_t>();
}

const nlohmann::json& member(const nlohmann::json& entry, const char* key, bool is_list, const std::string& where) {
  const auto found = entry.find(key);
  if (found == entry.end() || (is_list ? !found->is_array() : !found->is_string())) {
    throw Error(fmt::format("{}: expected \"{}\" to be {}", where, key, is_list ? "a list" : "a string"));
  }
  return *found;
}

struct Entry {
  std::string name;
  TensorView view;
  std::uint64_t begin, end;
};

Entry parse_entry(const std::string& tensor, const nlohmann::json& entry, std::uint64_t data_size,
                  std::string_view file) {
  const std::string where = fmt::format("{}: tensor {}", file, tensor);
  if (!entry.is_object()) throw Error(fmt::format("{}: expected an object in the header", where));
  Entry found{tensor, {}, 0, 0};
  found.view.type = type_named(member(entry, "dtype", false, where).get<std::string>(), where);
  std::uint64_t size = bytes_of(found.view.type);
  for (const nlohmann::json& extent : member(entry, "shape", true, where)) {
    const std::uint64_t length = whole_number(extent, where);
    found.view.shape.push_back(static_cast<std::int64_t>(length));
    if (__builtin_mul_overflow(size, length, &size)) throw Error(where + ": expected a size below 2^64 bytes");
  }
  const nlohmann::json& offsets = member(entry, "data_offsets", true, where);
  if (offsets.size() != 2) throw Error(where + ": expected two data_offsets");
  found.begin = whole_number(offsets[0], where);
  found.end = whole_number(offsets[1], where);
  if (found.begin > found.end || found.end > data_size || found.end - found.begin != size) {
    throw Error(fmt::format("{}: expected {} bytes within {} bytes of data, found offsets {} to {}", where, size,
                            data_size, found.begin, found.end));
  }
  return found;
}

std::map<std::string, std::string> parse_metadata(const nlohmann::json& object, std::string_view file) {
  std::map<std::string, std::string> metadata;
  if (object.is_null()) return metadata;
  if (!object.is_object()) throw Error(fmt::format("{}: expected {} to be an object of strings", file, kMetadata));
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string()) throw Error(fmt::format("{}: expected metadata \"{}\" to be a string", file, key));
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

std::uint64_t product_of(const TensorView& view) {
  std::uint64_t size = bytes_of(view.type);
  for (const std::int64_t extent : view.shape) {
    if (extent < 0 || __builtin_mul_overflow(size, static_cast<std::uint64_t>(extent), &size)) {
      throw Error("write_safetensors: expected extents from 0 with a size below 2^64 bytes");
    }
  }
  return size;
}

}  // namespace

std::size_t bytes_of(DType type) {
  return info_of(type).bytes;
}

std::string_view name_of(DType type) {
  return info_of(type).name;
}

void parse_safetensors(std::span<const std::byte> bytes, std::string_view name,
                       std::map<std::string, TensorView>& tensors, std::map<std::string, std::string>& metadata) {
  constexpr std::size_t kPrefix = 8;
  if (bytes.size() < kPrefix + 2)
    throw Error(fmt::format("{}: expected a safetensors file, found {} bytes", name, bytes.size()));
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kPrefix; ++i) length |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  if (length > kLargestHeader || length > bytes.size() - kPrefix) {
    throw Error(fmt::format("{}: expected a safetensors header of at most {} bytes, found length {}", name,
                            std::min<std::uint64_t>(kLargestHeader, bytes.size() - kPrefix), length));
  }
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + kPrefix, length);
  if (!header.starts_with('{')) throw Error(fmt::format("{}: expected a safetensors header that starts with {{", name));
  const nlohmann::json root = parse_header(header, name);
  const std::span<const std::byte> data = bytes.subspan(kPrefix + length);

  std::vector<Entry> entries;
  std::map<std::string, std::string> texts;
  for (const auto& [key, value] : root.items()) {
    if (key == kMetadata) {
      texts = parse_metadata(value, name);
    } else {
      entries.push_back(parse_entry(key, value, data.size(), name));
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t end = 0;
  std::map<std::string, TensorView> found;
  for (Entry& entry : entries) {
    if (entry.begin != end) {
      throw Error(fmt::format("{}: tensor {}: expected data to begin at {}, where the tensor before ends, found {}",
                              name, entry.name, end, entry.begin));
    }
    end = entry.end;
    entry.view.bytes = data.subspan(entry.begin, entry.end - entry.begin);
    found.emplace(std::move(entry.name), std::move(entry.view));
  }
  if (end != data.size()) {
    throw Error(fmt::format("{}: expected {} bytes of data as the header says, found {}", name, end, data.size()));
  }
  tensors = std::move(found);
  metadata = std::move(texts);
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), file_(path) {
  parse_safetensors(file_.bytes(), path.string(), tensors_, metadata_);
}

const TensorView& SafetensorsFile::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw Error(fmt::format("{}: expected a tensor {}, which is missing", path_.string(), name));
  }
  return found->second;
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<std::pair<std::string, const TensorView*>> order;
  for (const auto& [name, view] : tensors) {
    if (name == kMetadata) throw Error(fmt::format("{}: expected a tensor name other than {}", path.string(), name));
    const std::uint64_t size = product_of(view);
    if (size != view.bytes.size()) {
      throw Error(fmt::format("{}: tensor {}: expected {} bytes for its shape, found {}", path.string(), name, size,
                              view.bytes.size()));
    }
    order.emplace_back(name, &view);
  }
  // The enumeration is in the order of the reference, which puts later types first; the map is in order of names.
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second->type > b.second->type; });
  // Built as text: one object of many thousands of names is slow where keys keep their order.
  std::string header = "{";
  std::uint64_t offset = 0;
  try {
    if (!metadata.empty()) header += fmt::format("\"{}\":{},", kMetadata, nlohmann::json(metadata).dump());
    for (const auto& [name, view] : order) {
      header +=
          fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}},", nlohmann::json(name).dump(),
                      name_of(view->type), nlohmann::json(view->shape).dump(), offset, offset + view->bytes.size());
      offset += view->bytes.size();
    }
  } catch (const nlohmann::json::exception&) {
    throw Error(fmt::format("{}: expected names and metadata in UTF-8", path.string()));
  }
  if (header.size() > 1) header.pop_back();
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  if (header.size() > kLargestHeader) {
    throw Error(fmt::format("{}: expected a header of at most {} bytes, found {}", path.string(), kLargestHeader,
                            header.size()));
  }
  write_file(path, [&](std::ostream& out) {
    for (std::size_t i = 0; i < 8; ++i) out.put(static_cast<char>(header.size() >> (8 * i)));
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const auto& [name, view] : order) {
      out.write(reinterpret_cast<const char*>(view->bytes.data()), static_cast<std::streamsize>(view->bytes.size()));
    }
  });
}

}  // namespace attune
