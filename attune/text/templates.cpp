#include "attune/text/templates.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {
namespace {

struct Dataset {
  std::string_view name;
  std::string_view pattern;
};

constexpr std::string_view kDomainTemplate = "a photo of {}.";  // of every set in caoql98/GDPL

constexpr std::array kDatasets{
    Dataset{"ImageNet", kDefaultTemplate},
    Dataset{"ImageNetV2", kDefaultTemplate},
    Dataset{"ImageNet-Sketch", kDefaultTemplate},
    Dataset{"ImageNet-A", kDefaultTemplate},
    Dataset{"ImageNet-R", kDefaultTemplate},
    Dataset{"Caltech101", kDefaultTemplate},
    Dataset{"StanfordCars", kDefaultTemplate},
    Dataset{"SUN397", kDefaultTemplate},
    Dataset{"OxfordPets", "a photo of a {}, a type of pet."},
    Dataset{"Flowers102", "a photo of a {}, a type of flower."},
    Dataset{"OxfordFlowers", "a photo of a {}, a type of flower."},
    Dataset{"FGVCAircraft", "a photo of a {}, a type of aircraft."},
    Dataset{"DTD", "{} texture."},
    Dataset{"DescribableTextures", "{} texture."},
    Dataset{"EuroSAT", "a centered satellite photo of {}."},
    Dataset{"Food101", "a photo of {}, a type of food."},
    Dataset{"UCF101", "a photo of a person doing {}."},
    Dataset{"MLRSNet", kDomainTemplate},
    Dataset{"PatternNet", kDomainTemplate},
    Dataset{"RSSCN7", kDomainTemplate},
    Dataset{"AID", kDomainTemplate},
    Dataset{"RSICD", kDomainTemplate},
    Dataset{"UCM", kDomainTemplate},
    Dataset{"WHU-RS19", kDomainTemplate},
    Dataset{"NWPU", kDomainTemplate},
    Dataset{"NWPU-RESISC45", kDomainTemplate},
    Dataset{"BTMRI", kDomainTemplate},
    Dataset{"CHMNIST", kDomainTemplate},
    Dataset{"CCBTM", kDomainTemplate},
    Dataset{"Kvasir", kDomainTemplate},
    Dataset{"MEMNIST", kDomainTemplate},
    Dataset{"TMR17", kDomainTemplate},
    Dataset{"COVID19", kDomainTemplate},
    Dataset{"MSTAR", kDomainTemplate},
    Dataset{"ship", kDomainTemplate},
    Dataset{"airplane", kDomainTemplate},
    Dataset{"rock_image_x", kDomainTemplate},
    Dataset{"rock_image_y", kDomainTemplate},
    Dataset{"rock_image_z", kDomainTemplate},
    Dataset{"fluidxyz", kDomainTemplate},
    Dataset{"fluiduvw", kDomainTemplate},
};

constexpr std::array kBest7{
    "itap of a {}.",  "a bad photo of the {}.",   "a origami {}.", "a photo of the large {}.", "a {} in a video game.",
    "art of the {}.", "a photo of the small {}.",
};

/// With '*' for "a" and for "the".
constexpr std::array kPairs{
    "a bad photo of * {}.",
    "a low resolution photo of * {}.",
    "a bright photo of * {}.",
    "a cropped photo of * {}.",
    "a close-up photo of * {}.",
    "a black and white photo of * {}.",
    "a pixelated photo of * {}.",
    "a jpeg corrupted photo of * {}.",
    "a good photo of * {}.",
    "a dark photo of * {}.",
    "a blurry photo of * {}.",
    "a sculpture of * {}.",
    "a rendering of * {}.",
    "a drawing of * {}.",
    "a painting of * {}.",
    "a doodle of * {}.",
    "a sketch of * {}.",
    "a tattoo of * {}.",
    "a rendition of * {}.",
    "graffiti of * {}.",
    "art of * {}.",
    "itap of * {}.",
    "* embroidered {}.",
    "* plastic {}.",
    "* origami {}.",
    "* toy {}.",
    "* cartoon {}.",
    "* plushie {}.",
    "a photo of * hard to see {}.",
    "a photo of * clean {}.",
    "a photo of * dirty {}.",
    "a photo of * cool {}.",
    "a photo of * large {}.",
    "a photo of * nice {}.",
    "a photo of * weird {}.",
    "a photo of * small {}.",
    "a photo of * {}.",
    "* {} in a video game.",
};

constexpr std::array kSingles{"a photo of many {}.", "a photo of my {}.", "a photo of one {}.", "itap of my {}."};

/// Of all80, what PromptSRC leaves out.
constexpr std::array kNotInPromptSrc{
    "a black and white photo of a {}.",
    "a dark photo of a {}.",
    "a drawing of the {}.",
    "a good photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a photo of the large {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "a plushie {}.",
    "a tattoo of the {}.",
    "a toy {}.",
    "art of the {}.",
    "graffiti of the {}.",
    "itap of a {}.",
    "itap of my {}.",
    "the cartoon {}.",
    "the plushie {}.",
};

/// The text with `to` for every `from`.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (std::size_t at = text.find(from); at != std::string_view::npos; at = text.find(from)) {
    result.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
  }
  return result.append(text);
}

std::string letters_of(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c != '-' && c != '_' && c != ' ') plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return plain;
}

std::vector<std::string> all80() {
  std::vector<std::string> all;
  for (const std::string_view pattern : kPairs) {
    for (const std::string_view article : {"a", "the"}) all.push_back(replace_all(pattern, "*", article));
  }
  all.insert(all.end(), kSingles.begin(), kSingles.end());
  return all;
}

}  // namespace

std::string fill(std::string_view pattern, std::string_view class_name) {
  if (pattern.find("{}") == std::string_view::npos) {
    throw UsageError(fmt::format("fill: expected a template with {{}} for the class name, found \"{}\"", pattern));
  }
  return replace_all(pattern, "{}", replace_all(class_name, "_", " "));
}

std::optional<std::string> known_template(std::string_view dataset) {
  for (const Dataset& known : kDatasets) {
    if (letters_of(known.name) == letters_of(dataset)) return std::string(known.pattern);
  }
  return std::nullopt;
}

std::string dataset_template(std::string_view dataset) {
  if (dataset.empty()) return std::string(kDefaultTemplate);
  if (const auto known = known_template(dataset)) return *known;
  std::vector<std::string_view> names;
  names.reserve(kDatasets.size());
  for (const Dataset& known : kDatasets) names.push_back(known.name);
  throw UsageError(fmt::format("dataset_template: expected one of {}, found \"{}\"", fmt::join(names, ", "), dataset));
}

std::vector<std::string> template_ensemble(std::string_view ensemble) {
  if (ensemble == "single") return {std::string(kDefaultTemplate)};
  if (ensemble == "best7") return {kBest7.begin(), kBest7.end()};
  std::vector<std::string> all = all80();
  if (ensemble == "all80") return all;
  if (ensemble == "promptsrc60") {
    std::erase_if(all, [](const std::string& t) {
      return std::find(kNotInPromptSrc.begin(), kNotInPromptSrc.end(), t) != kNotInPromptSrc.end();
    });
    return all;
  }
  throw UsageError(
      fmt::format("template_ensemble: expected single, best7, all80 or promptsrc60, found \"{}\"", ensemble));
}

std::vector<std::string> zero_shot_templates(std::string_view ensemble, std::string_view dataset) {
  const std::string own = dataset_template(dataset);
  std::vector<std::string> templates = template_ensemble(ensemble);
  if (ensemble == "single") return {own};
  if (!letters_of(dataset).starts_with("imagenet")) templates.push_back(own);
  return templates;
}

}  // namespace attune
