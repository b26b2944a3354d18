#pragma once

#include <vector>

#include "attune/clip/text_tower.h"

namespace attune {

/// Some contexts times some classes of a call of the text tower.
struct TextPart {
  std::int64_t context = 0, contexts = 0;  // first and number
  std::int64_t first = 0, classes = 0;
  std::int64_t rows = 0;  // that the tower computes for it
};

/// Divides a call into at least `wanted` parts of at most `most_rows` rows where contexts and classes allow it, of
/// about equal rows, contexts before classes (a part computes its prefixes anew). `lengths` are the suffixes' of the
/// classes.
std::vector<TextPart> divide_text(std::int64_t contexts, std::int64_t prefix, const std::vector<std::int64_t>& lengths,
                                  std::int64_t wanted, std::int64_t most_rows);

/// The text tower part by part, on the threads of in_parallel. Where a gradient is wanted, the graphs of the first
/// parts of together at most `kept_rows` rows are kept for the backward, and the others are computed again there (a
/// third more work for those), so that memory does not grow with the number of classes. Gradients equal those of the
/// whole up to rounding, dropout included.
Tensor encode_text_in_parts(const TextConfig& config, const TextWeights<FrozenLinear>& weights, const Prompts& prompts,
                            const Tuning& tuning, const std::vector<TextPart>& parts, std::int64_t kept_rows);

/// Whether a gradient of any tensor of a call is computed.
bool wants_gradients(Prompts prompts, Tuning tuning);

/// The contexts of a call: the largest leading size of its prefix, suffix and tuning tokens.
std::int64_t text_contexts(const Prompts& prompts, const Tuning& tuning);

}  // namespace attune
