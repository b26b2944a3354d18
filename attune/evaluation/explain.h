#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "attune/evaluation/experiment.h"
#include "attune/evaluation/explain_prompts.h"
#include "attune/evaluation/explain_removal.h"
#include "attune/evaluation/explain_transport.h"
#include "attune/evaluation/explain_words.h"

namespace attune {

struct ExplainSettings {
  std::int64_t words = 5;          // nearest words of a token
  bool pieces = false;             // beginnings and insides of words too
  std::int64_t draws = 8;          // prompts generated for a picture
  std::int64_t pictures = 500;     // looked at and measured at most; 0: all
  std::size_t shown_classes = 12;  // with a picture of their own; 0: all
  bool removal = true;             // measure without each token
};

/// Pictures to explain an adapter with.
struct ExplainData {
  Dataset dataset;
  std::string part;  // in words
  std::vector<Sample> samples;
};

/// What an adapter learned, as far as it can be looked at.
struct Explanation {
  std::string adapter, method, model;
  std::string dataset, part;  // empty: without pictures
  Provenance provenance;
  VocabularyScale vocabulary;
  std::vector<TokenWords> tokens;
  std::optional<Removal> removal;
  std::optional<GeneratedPrompts> generated;
  std::optional<Transports> transports;
};

/// Looks at the adapter in `folder`; with pictures also at what it does to them. Pictures beyond the most are left out
/// by a random choice of the seed. Throws Error as load_adapter does.
Explanation explain(const std::shared_ptr<const ClipModel>& model, const std::filesystem::path& folder,
                    const std::optional<ExplainData>& data, const ExplainSettings& settings, const InputOptions& inputs,
                    const Provenance& provenance);

/// Everything that the page shows, and no pictures. Numbers that do not exist are null.
Json to_json(const Explanation& explanation);

/// One self-contained page.
std::string explain_page(const Explanation& explanation);

}  // namespace attune
