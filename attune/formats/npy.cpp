#include "attune/formats/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/formats/bytes.h"

namespace attune {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::array<std::pair<DType, std::string_view>, 12> kNpyTypes = {{{DType::kBool, "|b1"},
                                                                           {DType::kU8, "|u1"},
                                                                           {DType::kI8, "|i1"},
                                                                           {DType::kI16, "<i2"},
                                                                           {DType::kU16, "<u2"},
                                                                           {DType::kF16, "<f2"},
                                                                           {DType::kI32, "<i4"},
                                                                           {DType::kU32, "<u4"},
                                                                           {DType::kF32, "<f4"},
                                                                           {DType::kF64, "<f8"},
                                                                           {DType::kI64, "<i8"},
                                                                           {DType::kU64, "<u8"}}};

/// The value of a key in the header, a Python dictionary such as {'descr': '<f4', 'fortran_order': False, 'shape':
/// (3, 4), }: the text up to the comma that ends it.
std::string_view value_of(std::string_view header, std::string_view key, std::string_view name) {
  const std::string quoted = fmt::format("'{}':", key);
  const auto at = header.find(quoted);
  if (at == header.npos) throw Error(fmt::format("{}: expected {} in the header of a .npy file", name, quoted));
  std::string_view value = header.substr(at + quoted.size());
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  const auto end = value.starts_with('(') ? value.find(')') : value.find_first_of(",}");
  if (end == value.npos) throw Error(fmt::format("{}: expected a complete header of a .npy file", name));
  return value.substr(0, value.starts_with('(') ? end + 1 : end);
}

std::vector<std::int64_t> parse_shape(std::string_view text, std::string_view name) {
  const auto broken = [&] {
    return Error(fmt::format("{}: expected a shape such as (3, 4), found {}", name, text.substr(0, 80)));
  };
  if (text.size() < 2 || text.front() != '(' || text.back() != ')') throw broken();
  std::vector<std::int64_t> shape;
  const char* at = text.data() + 1;
  const char* const end = text.data() + text.size() - 1;
  while (at != end) {
    std::int64_t extent = -1;
    const auto [next, problem] = std::from_chars(at, end, extent);
    if (problem != std::errc() || extent < 0) throw broken();
    shape.push_back(extent);
    at = next;
    // "(3,)" and "(3, 4)": only one number without a comma is no tuple, and is not written by anybody.
    if (at != end && *at == ',') ++at;
    while (at != end && *at == ' ') ++at;
  }
  return shape;
}

}  // namespace

TensorView parse_npy(std::span<const std::byte> bytes, std::string_view name) {
  constexpr std::size_t kStart = 8;
  if (bytes.size() < kStart + 4 || !as_text(bytes).starts_with(kMagic)) {
    throw Error(fmt::format("{}: expected a .npy file", name));
  }
  const int version = std::to_integer<int>(bytes[6]);
  if (version < 1 || version > 3) throw Error(fmt::format("{}: expected .npy version 1 to 3, found {}", name, version));
  const std::size_t begin = kStart + (version == 1 ? 2 : 4);
  const std::size_t length = version == 1 ? little_endian<std::uint16_t>(bytes.subspan(kStart))
                                          : little_endian<std::uint32_t>(bytes.subspan(kStart));
  if (length > bytes.size() - begin) throw Error(fmt::format("{}: expected a complete header of a .npy file", name));
  const std::string_view header = as_text(bytes.subspan(begin, length));

  TensorView view;
  std::string_view type = value_of(header, "descr", name);
  if (type.size() >= 2 && type.front() == '\'' && type.back() == '\'') type = type.substr(1, type.size() - 2);
  const auto known =
      std::find_if(kNpyTypes.begin(), kNpyTypes.end(), [&](const auto& pair) { return pair.second == type; });
  if (known == kNpyTypes.end()) {
    throw Error(fmt::format("{}: expected little-endian numbers or booleans, found {}", name, type.substr(0, 40)));
  }
  view.type = known->first;
  if (value_of(header, "fortran_order", name) != "False") {
    throw Error(fmt::format("{}: expected the order of rows ('fortran_order': False)", name));
  }
  view.shape = parse_shape(value_of(header, "shape", name), name);
  view.bytes = bytes.subspan(begin + length);
  std::uint64_t size = bytes_of(view.type);
  bool overflow = false;
  for (const std::int64_t extent : view.shape) {
    overflow = overflow || __builtin_mul_overflow(size, static_cast<std::uint64_t>(extent), &size);
  }
  if (overflow || size != view.bytes.size()) {
    throw Error(fmt::format("{}: expected data that agrees with the shape, found {} bytes", name, view.bytes.size()));
  }
  return view;
}

NpyFile::NpyFile(const std::filesystem::path& path) : file_(path), tensor_(parse_npy(file_.bytes(), path.string())) {}

void write_npy(const std::filesystem::path& path, const TensorView& tensor) {
  const auto known =
      std::find_if(kNpyTypes.begin(), kNpyTypes.end(), [&](const auto& pair) { return pair.first == tensor.type; });
  if (known == kNpyTypes.end()) {
    throw Error(fmt::format("{}: expected a type that .npy files have, found {}", path.string(), name_of(tensor.type)));
  }
  std::string shape;
  std::uint64_t size = bytes_of(tensor.type);
  for (const std::int64_t extent : tensor.shape) {
    shape += fmt::format("{}{}", shape.empty() ? "" : ", ", extent);
    size *= static_cast<std::uint64_t>(extent);
  }
  if (tensor.shape.size() == 1) shape += ",";
  if (size != tensor.bytes.size()) {
    throw Error(fmt::format("{}: expected {} bytes for the shape ({}), found {}", path.string(), size, shape,
                            tensor.bytes.size()));
  }
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", known->second, shape);
  // The data begins at a multiple of 64 bytes; the header ends with a line end.
  const std::size_t start = kMagic.size() + 4;
  header.resize((start + header.size() + 1 + 63) / 64 * 64 - start - 1, ' ');
  header += '\n';
  if (header.size() > 0xffff) throw Error(fmt::format("{}: expected a shape with fewer axes", path.string()));
  write_file(path, [&](std::ostream& out) {
    std::string prefix(kMagic);
    prefix += std::string("\x01\x00", 2);
    append_little_endian(prefix, static_cast<std::uint16_t>(header.size()));
    out << prefix << header;
    out.write(reinterpret_cast<const char*>(tensor.bytes.data()), static_cast<std::streamsize>(tensor.bytes.size()));
  });
}

void write_npy(const std::filesystem::path& path, std::span<const float> values,
               const std::vector<std::int64_t>& shape) {
  write_npy(path, {DType::kF32, shape, std::as_bytes(values)});
}

void write_npy(const std::filesystem::path& path, std::span<const std::int64_t> values,
               const std::vector<std::int64_t>& shape) {
  write_npy(path, {DType::kI64, shape, std::as_bytes(values)});
}

}  // namespace attune
