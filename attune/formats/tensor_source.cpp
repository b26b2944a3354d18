#include "attune/formats/tensor_source.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr std::uint64_t kLargestIndex = std::uint64_t{100} << 20;

std::filesystem::path resolve(const std::filesystem::path& path, std::string_view stem) {
  if (!std::filesystem::is_directory(path)) return path;
  std::filesystem::path file = path / fmt::format("{}.safetensors", stem);
  std::filesystem::path index = path / fmt::format("{}.safetensors.index.json", stem);
  if (std::filesystem::exists(file)) return file;
  if (std::filesystem::exists(index)) return index;
  throw Error(fmt::format("{}: expected {} or {}, found neither", path.string(), file.filename().string(),
                          index.filename().string()));
}

}  // namespace

TensorSource::TensorSource(const std::filesystem::path& path, std::string_view stem) : path_(resolve(path, stem)) {
  if (path_.extension() == ".json") {
    open_shards();
  } else {
    files_.emplace_back(path_);
    tensors_ = files_.front().tensors();
  }
}

void TensorSource::open_shards() {
  // Not read_json: an object that keeps the order of its keys is slow with many thousands of names.
  const auto index = nlohmann::json::parse(read_file(path_, kLargestIndex), nullptr, false);
  const auto weights = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || weights == index.end() || !weights->is_object() || weights->empty()) {
    throw Error(fmt::format("{}: expected JSON with an object \"weight_map\" of tensor names", path_.string()));
  }
  std::map<std::string, std::size_t> opened;
  for (const auto& [name, value] : weights->items()) {
    const std::string shard = value.is_string() ? value.get<std::string>() : "";
    const bool plain =
        !shard.empty() && shard != "." && shard != ".." && shard.find_first_of(std::string("/\\\0", 3)) == shard.npos;
    if (!plain) {
      throw Error(fmt::format("{}: tensor {}: expected the name of a file beside the index, found {}", path_.string(),
                              name, value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
    }
    const auto [at, is_new] = opened.emplace(shard, files_.size());
    if (is_new) {
      const std::filesystem::path file = path_.parent_path() / shard;
      if (!std::filesystem::exists(file)) {
        throw Error(fmt::format("{}: expected the shard {} of tensor {} beside it, found no such file", path_.string(),
                                shard, name));
      }
      files_.emplace_back(file);
    }
    tensors_.emplace(name, files_[at->second].at(name));
  }
}

const TensorView& TensorSource::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw Error(fmt::format("{}: expected a tensor {}, which is missing", path_.string(), name));
  }
  return found->second;
}

}  // namespace attune
