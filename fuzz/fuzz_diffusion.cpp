#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "attune/base/error.h"
#include "attune/diffusion/model_index.h"
#include "attune/diffusion/sampler_config.h"
#include "attune/diffusion/unet_config.h"
#include "attune/diffusion/vae_config.h"

namespace {

using namespace attune;

/// As it comes back from a file.
Json again(const Json& written) {
  return parse_json(written.dump(), "again");
}

void read_unet(const Json& json) {
  const UNetConfig config = read_unet_config(json, "input");
  const Json written = unet_json(config);
  if (unet_json(read_unet_config(again(written), "again")) != written) __builtin_trap();
  check_channels(config, std::nullopt, "input");
}

void read_vae(const Json& json) {
  const VaeConfig config = read_vae_config(json, "input");
  if (config.factor() < 1) __builtin_trap();
  check_channels(stable_diffusion_1_unet(), config, "input");
}

void read_scheduler(const Json& json, std::optional<SamplerKind> wanted) {
  const Json written = sampler_json(read_sampler_config(json, "input", wanted));
  if (sampler_json(read_sampler_config(again(written), "again")) != written) __builtin_trap();
}

}  // namespace

// The first byte chooses which file of a folder in diffusers' layout the rest is.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const Json json = parse_json(text, "input");
    switch (data[0]) {
      case 'u':
        read_unet(json);
        break;
      case 'v':
        read_vae(json);
        break;
      case 's':
        read_scheduler(json, std::nullopt);
        break;
      case 'p':
        read_scheduler(json, SamplerKind::kPndm);
        break;
      default:
        check_model_index(json, "input");
    }
  } catch (const Error&) {
    // Bad input ends in an Error, and in nothing else.
  }
  return 0;
}
