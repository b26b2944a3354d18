#include <cstdint>

#include "attune/base/error.h"
#include "attune/formats/pickle.h"
#include "attune/formats/torch_archive.h"
#include "attune/formats/zip.h"

namespace {

template <class Read>
void refuse_or_read(Read read) {
  try {
    read();
  } catch (const attune::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  refuse_or_read([&] { attune::parse_torch_archive(bytes, "fuzz"); });
  refuse_or_read([&] { attune::Pickle(bytes, "fuzz"); });
  refuse_or_read([&] {
    const attune::ZipArchive zip(bytes, "fuzz");
    std::vector<std::byte> buffer;
    for (const auto& entry : zip.members()) refuse_or_read([&] { zip.content(entry.first, buffer); });
  });
  return 0;
}
