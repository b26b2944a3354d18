#pragma once

#include "attune/clip/model.h"
#include "attune/clip/transformer.h"

namespace attune {

/// The parameters of a text tower; L is Linear where they train, FrozenLinear where they don't.
template <class L>
struct TextWeights {
  Tensor tokens;     // [vocabulary, width]
  Tensor positions;  // [context length, width]
  Transformer<L> transformer;
  LayerNorm final;
  L projection;  // [d, width], no bias
};

/// The one forward of the text tower, in parts where it is large (see text_parts.h). Text features [P, C, d], not
/// normalised, exactly those of the padded sequences: the prefix rows are computed once per prefix, suffix rows attend
/// to the prefix's keys and their own, rows behind an end token are not computed at all, and the last block is finished
/// for the end rows only. P is the larger of the leading sizes of prefix, suffix and tuning tokens; those of size 1 are
/// shared. Throws Error where shapes disagree or prefix and suffix together exceed the context length.
template <class L>
Tensor encode_text(const TextConfig& config, const TextWeights<L>& weights, const Prompts& given,
                   const Tuning& tuning = {});

GraphLimits text_graph_limits(const TextConfig& config, const Tuning& tuning = {});

/// Where a part of a call begins: dropout is keyed by it.
struct TextOrigin {
  std::int64_t context = 0, first = 0;  // the first context and the first class
};

/// The same as one piece of work, whatever its size.
template <class L>
Tensor encode_text_at_once(const TextConfig& config, const TextWeights<L>& weights, const Prompts& prompts,
                           const Tuning& tuning, const TextOrigin& origin = {});

extern template Tensor encode_text(const TextConfig&, const TextWeights<Linear>&, const Prompts&, const Tuning&);
extern template Tensor encode_text(const TextConfig&, const TextWeights<FrozenLinear>&, const Prompts&, const Tuning&);

/// Rows of the token embedding: ids [any shape] -> [any shape, width]. Differentiable in the table.
Tensor embed_tokens(const Tensor& table, const Tensor& ids);

/// Token ids of sentences, without the special tokens, as rows [sentences, longest + 1] filled up with the end token.
Tensor pad_ids(const std::vector<std::vector<std::int64_t>>& sentences, std::int64_t end);

/// Sentences as prompts whose prefix is the start token: ids without the special tokens, padded here.
/// `table` is the token embedding; gradients reach it.
Prompts embed_sentences(const Tensor& table, const std::vector<std::vector<std::int64_t>>& sentences,
                        std::int64_t start, std::int64_t end);

std::shared_ptr<const TextTower> make_text_tower(const TextConfig& config, TextWeights<FrozenLinear> weights);

}  // namespace attune
