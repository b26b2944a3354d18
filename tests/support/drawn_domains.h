#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "attune/base/files.h"
#include "attune/base/random.h"
#include "attune/images/encode.h"

namespace attune {

/// Writes <root>/<domain>/<class>/<i>.png: coloured noise, a colour for each class and a brightness for each domain.
inline std::filesystem::path draw_domains(const std::filesystem::path& root, const std::vector<std::string>& domains,
                                          const std::vector<std::string>& classes, int pictures) {
  for (std::size_t d = 0; d < domains.size(); ++d) {
    for (std::size_t c = 0; c < classes.size(); ++c) {
      for (int i = 0; i < pictures; ++i) {
        KeyedRandom random(d + 1, classes[c], static_cast<std::uint64_t>(i));
        Image image{20, 18, {}};
        for (int p = 0; p < 20 * 18; ++p) {
          for (std::size_t channel = 0; channel < 3; ++channel) {
            const bool bright = channel == c % 3;
            image.rgb.push_back(static_cast<std::uint8_t>(random.below(bright ? 256 : 60 + 30 * d + 10 * c)));
          }
        }
        write_file(root / domains[d] / classes[c] / (std::to_string(i) + ".png"), encode_png(image));
      }
    }
  }
  return root;
}

}  // namespace attune
