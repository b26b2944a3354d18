#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// What a template is where nothing else is said.
inline constexpr std::string_view kDefaultTemplate = "a photo of a {}.";

/// The template with the class name for each "{}"; underscores of the name become spaces. Throws UsageError for a
/// template without "{}".
std::string fill(std::string_view pattern, std::string_view class_name);

/// The hand-written template of a public dataset, such as "OxfordPets" (upper and lower case, '-', '_' and spaces do
/// not matter): CoOp's, and for the sets of specialised domains (docs/domains) that of the DCPL family. An empty name
/// is the user's own data: kDefaultTemplate. Throws UsageError that lists the known names.
std::string dataset_template(std::string_view dataset);

/// The same, or nothing for a name that is not known.
std::optional<std::string> known_template(std::string_view dataset);

/// The templates of an ensemble: "single" (kDefaultTemplate), "best7" and "all80" (CLIP's for ImageNet), "promptsrc60"
/// (the 60 of all80 that PromptSRC's teacher uses). Throws UsageError that lists the known names.
std::vector<std::string> template_ensemble(std::string_view ensemble);

/// The templates of zero-shot classification on a dataset: its own for "single"; else the ensemble, with the dataset's
/// own appended unless it is ImageNet or a variant of it (CoOp's rule; the template may then stand there twice).
std::vector<std::string> zero_shot_templates(std::string_view ensemble, std::string_view dataset);

}  // namespace attune
