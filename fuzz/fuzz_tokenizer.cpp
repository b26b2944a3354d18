// The first byte says how the rest is read: as tokenizer.json, as vocab.json and merges.txt (split at the first empty
// line), or as a gzipped list of merges. A tokenizer that loads encodes the same bytes and decodes its ids.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/text/tokenizer.h"

namespace {

/// Without write_file's wait for the disk, which would be most of a run.
void put(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace attune;
  if (size == 0) return 0;
  static const TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() / "whole");
  std::filesystem::create_directories(folder.path() / "pair");
  const std::string rest(reinterpret_cast<const char*>(data + 1), size - 1);
  std::filesystem::path path = folder.path() / "input.gz";
  if (data[0] % 3 == 0) {
    path = folder.path() / "whole" / "tokenizer.json";
    put(path, rest);
  } else if (data[0] % 3 == 1) {
    const std::size_t middle = std::min(rest.find("\n\n"), rest.size());
    path = folder.path() / "pair";
    put(path / "vocab.json", rest.substr(0, middle));
    put(path / "merges.txt", rest.substr(middle));
  } else {
    put(path, rest);
  }
  try {
    const Tokenizer tokenizer = Tokenizer::load(path);
    const std::vector<std::int64_t> ids = tokenizer.encode(rest);
    for (const std::int64_t id : ids) {
      if (id < 0 || id >= tokenizer.size()) std::abort();
    }
    tokenizer.decode(ids);
  } catch (const Error&) {
  }
  return 0;
}
