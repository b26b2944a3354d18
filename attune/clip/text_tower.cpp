#include "attune/clip/text_tower.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <type_traits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/clip/text_parts.h"
#include "attune/tensors/parallel.h"
#include "attune/tensors/sequence_attention.h"

namespace attune {
namespace {

/// Classes whose suffixes have the same length; their rows stand together in the matrix of all rows.
struct Group {
  std::int64_t classes = 0;
  std::int64_t length = 0;  // of the suffix, end token included
  std::int64_t first = 0;   // row
  Tensor members;           // [classes] int64
};

/// How the rows [P * Lp prefix rows; group after group] of a call are laid out.
struct Layout {
  std::int64_t contexts = 1;  // P
  std::int64_t prefix = 1;    // Lp
  std::int64_t rows = 0;
  std::vector<Group> groups;
  Tensor order;         // [C]: where class c stands among the classes in the order of the groups
  Sequences all, ends;  // on a CPU: attention of all rows; of the end rows, in the order of the groups
  Tensor names;         // [rows] int64 of context, class and place, where dropout is on
};

/// Prefixes by themselves, then every class behind its prefix; or only what end rows see.
Sequences sequences_of(const Layout& layout, bool only_ends) {
  auto sequences = std::make_shared<std::vector<Sequence>>();
  std::int64_t output = 0;
  const auto add = [&](Sequence one) {
    one.output_row = output;
    output += one.length - one.first_query;
    sequences->push_back(one);
  };
  for (std::int64_t p = 0; p < layout.contexts && !only_ends; ++p) add({p * layout.prefix, layout.prefix});
  for (const Group& group : layout.groups) {
    for (std::int64_t i = 0; i < layout.contexts * group.classes; ++i) {
      add({group.first + i * group.length, group.length, i / group.classes * layout.prefix, layout.prefix,
           only_ends ? group.length - 1 : 0});
    }
  }
  return sequences;
}

void check_shared(std::int64_t size, std::int64_t contexts, const char* what) {
  if (size != 1 && size != contexts) {
    throw Error(fmt::format("text tower: expected 1 or {} {}, found {}", contexts, what, size));
  }
}

void check_prompts(const TextConfig& config, const Prompts& prompts) {
  const auto& [prefix, suffix, end] = prompts;
  const bool fits = prefix.defined() && suffix.defined() && end.defined() && prefix.dim() == 3 && suffix.dim() == 4 &&
                    end.dim() == 1 && prefix.size(0) > 0 && prefix.size(1) > 0 && prefix.size(2) == config.width &&
                    suffix.size(3) == config.width && suffix.size(1) == end.size(0) && suffix.size(1) > 0;
  if (!fits) {
    const auto shape = [](const Tensor& tensor) {
      return tensor.defined() ? fmt::format("[{}]", fmt::join(tensor.sizes(), ", ")) : std::string("nothing");
    };
    throw Error(
        fmt::format("text tower: expected prefix [P, Lp, {0}], suffix [1 or P, C, Ls, {0}] and end [C], found "
                    "{1}, {2} and {3}",
                    config.width, shape(prefix), shape(suffix), shape(end)));
  }
}

void check_overwritten(const Tuning& tuning, std::int64_t prefix) {
  for (std::size_t i = 0; i < tuning.blocks.size(); ++i) {
    const auto& block = tuning.blocks[i];
    if (!block.tokens.defined()) continue;
    if (block.place != Place::kOverwriteAfterStart) {
      throw Error(
          fmt::format("text tower: tuning of block {}: tokens overwrite the positions after the start token, no "
                      "other place is possible",
                      i));
    }
    if (block.tokens.size(1) > prefix - 1) {
      throw Error(
          fmt::format("text tower: tuning of block {} overwrites {} positions after the start token, but the "
                      "prefix holds only {}",
                      i, block.tokens.size(1), prefix - 1));
    }
  }
}

/// Lengths of the classes' suffixes, end token included.
std::vector<std::int64_t> lengths_of(const TextConfig& config, const Prompts& prompts) {
  const Tensor ends = prompts.end.to(at::kLong).contiguous();
  std::vector<std::int64_t> lengths;
  for (std::int64_t c = 0; c < ends.numel(); ++c) {
    const std::int64_t end = ends.const_data_ptr<std::int64_t>()[c];
    if (end < 0 || end >= prompts.suffix.size(2)) {
      throw Error(fmt::format("text tower: expected the end of class {} within its suffix of {} tokens, found {}", c,
                              prompts.suffix.size(2), end));
    }
    lengths.push_back(end + 1);
  }
  const std::int64_t prefix = prompts.prefix.size(1), longest = *std::max_element(lengths.begin(), lengths.end());
  if (prefix + longest > config.context_length) {
    throw Error(fmt::format("text tower: a prefix of {} and a suffix of {} tokens exceed the context length of {}",
                            prefix, longest, config.context_length));
  }
  return lengths;
}

void check_contexts(const Prompts& prompts, const Tuning& tuning) {
  const std::int64_t contexts = text_contexts(prompts, tuning);
  check_shared(prompts.prefix.size(0), contexts, "prefixes");
  check_shared(prompts.suffix.size(0), contexts, "sets of suffixes");
  for (const auto& block : tuning.blocks) {
    if (block.tokens.defined()) check_shared(block.tokens.size(0), contexts, "sets of tuning tokens");
  }
  check_overwritten(tuning, prompts.prefix.size(1));
}

/// Names of all rows: of context, class (0: the prefix) and place.
Tensor row_names(const Layout& layout, const TextOrigin& origin) {
  constexpr std::int64_t kMostPlaces = std::int64_t{1} << 16, kMostClasses = std::int64_t{1} << 24;
  const Tensor contexts =
      at::arange(origin.context, origin.context + layout.contexts, at::kLong) * (kMostClasses * kMostPlaces);
  const auto named = [&](const Tensor& classes, std::int64_t first, std::int64_t count) {
    return (contexts.view({-1, 1, 1}) + (classes * kMostPlaces).view({1, -1, 1}) +
            at::arange(first, first + count, at::kLong))
        .reshape({-1});
  };
  std::vector<Tensor> names{named(at::zeros({1}, at::kLong), 0, layout.prefix)};
  for (const Group& group : layout.groups) {
    names.push_back(named(group.members + (origin.first + 1), layout.prefix, group.length));
  }
  return at::cat(names);
}

Layout lay_out(const TextConfig& config, const Prompts& prompts, const Tuning& tuning, const TextOrigin& origin) {
  Layout layout;
  layout.prefix = prompts.prefix.size(1);
  layout.contexts = text_contexts(prompts, tuning);
  const std::vector<std::int64_t> lengths = lengths_of(config, prompts);
  std::map<std::int64_t, std::vector<std::int64_t>> by_length;
  for (std::size_t c = 0; c < lengths.size(); ++c) by_length[lengths[c]].push_back(static_cast<std::int64_t>(c));

  std::vector<std::int64_t> order(lengths.size());
  std::int64_t place = 0;
  layout.rows = layout.contexts * layout.prefix;
  for (const auto& [length, members] : by_length) {
    Group group{static_cast<std::int64_t>(members.size()), length, layout.rows, at::tensor(members, at::kLong)};
    for (const auto member : members) order[static_cast<std::size_t>(member)] = place++;
    layout.rows += layout.contexts * group.classes * length;
    layout.groups.push_back(std::move(group));
  }
  layout.order = at::tensor(order, at::kLong);
  if (prompts.prefix.is_cpu()) {
    layout.all = sequences_of(layout, false);
    layout.ends = sequences_of(layout, true);
  }
  if (drops(tuning)) layout.names = row_names(layout, origin);
  return layout;
}

/// The input rows of the first block, positions added.
Tensor first_rows(const Layout& layout, const Prompts& prompts, const Tensor& positions) {
  const auto width = positions.size(1);
  const Tensor prefix = (prompts.prefix + positions.narrow(0, 0, layout.prefix))
                            .expand({layout.contexts, layout.prefix, width})
                            .reshape({-1, width});
  std::vector<Tensor> rows{prefix};
  for (const auto& group : layout.groups) {
    const Tensor members = group.members.to(prompts.suffix.device());
    const Tensor suffix = prompts.suffix.narrow(2, 0, group.length).index_select(1, members) +
                          positions.narrow(0, layout.prefix, group.length);
    rows.push_back(suffix.expand({layout.contexts, group.classes, group.length, width}).reshape({-1, width}));
  }
  return at::cat(rows);
}

/// Rows with the tokens of a tuning at positions 1..n of every prefix.
Tensor overwrite(const Layout& layout, const Tensor& rows, const Tensor& tokens) {
  const auto width = rows.size(1);
  const auto written = tokens.size(1);
  const auto count = layout.contexts * layout.prefix;
  const Tensor prefix = rows.narrow(0, 0, count).view({layout.contexts, layout.prefix, width});
  const Tensor changed =
      at::cat({prefix.narrow(1, 0, 1), tokens.to(rows.options()).expand({layout.contexts, written, width}),
               prefix.narrow(1, written + 1, layout.prefix - written - 1)},
              1);
  return at::cat({changed.reshape({count, width}), rows.narrow(0, count, rows.size(0) - count)});
}

/// What is added to the scores of suffix rows over [prefix keys; own keys].
Tensor suffix_mask(std::int64_t prefix, std::int64_t length, const at::TensorOptions& options) {
  return at::full({length, prefix + length}, -std::numeric_limits<double>::infinity(), options).triu(prefix + 1);
}

/// Attention of all rows, or (`only_ends`) of the end rows of all classes in the order of the groups.
Tensor attend_rows(const Layout& layout, const Tensor& fused, std::int64_t heads, bool only_ends) {
  const auto width = fused.size(1) / 3;
  const auto size = width / heads;
  const auto contexts = layout.contexts;
  if (attends_sequences(fused, heads)) {
    const auto outputs = only_ends ? contexts * layout.order.size(0) : layout.rows;
    return attend_sequences(fused, heads, only_ends ? layout.ends : layout.all, outputs);
  }
  const auto prefix = fused.narrow(0, 0, contexts * layout.prefix)
                          .view({contexts, layout.prefix, 3, heads, size})
                          .permute({2, 0, 3, 1, 4})
                          .unbind();  // [P, H, Lp, size]
  std::vector<Tensor> mixed;
  if (!only_ends) mixed.push_back(attend(prefix[0], prefix[1], prefix[2], {}, true).reshape({-1, width}));
  for (const auto& group : layout.groups) {
    const auto own = fused.narrow(0, group.first, contexts * group.classes * group.length)
                         .view({contexts, group.classes, group.length, 3, heads, size})
                         .permute({3, 0, 1, 4, 2, 5})
                         .unbind();  // [P, C, H, Ls, size]
    const auto with_prefix = [&](const Tensor& shared, const Tensor& mine) {
      const Tensor repeated = shared.unsqueeze(1).expand({contexts, group.classes, heads, layout.prefix, size});
      return at::cat({repeated, mine}, 3).flatten(0, 1);
    };
    const Tensor queries = only_ends ? own[0].narrow(3, group.length - 1, 1) : own[0];
    const bool sees_all = only_ends || group.length == 1;
    const Tensor mask = sees_all ? Tensor() : suffix_mask(layout.prefix, group.length, fused.options());
    mixed.push_back(attend(queries.reshape({contexts * group.classes, heads, -1, size}), with_prefix(prefix[1], own[1]),
                           with_prefix(prefix[2], own[2]), mask)
                        .reshape({-1, width}));
  }
  return at::cat(mixed);
}

/// Of rows [rows, ...] or of their names those of the end tokens, in the order of the groups.
Tensor end_rows(const Layout& layout, const Tensor& rows) {
  std::vector<Tensor> ends;
  for (const auto& group : layout.groups) {
    ends.push_back(rows.narrow(0, group.first, layout.contexts * group.classes * group.length)
                       .unflatten(0, {-1, group.length})
                       .select(1, group.length - 1));
  }
  return at::cat(ends);
}

/// [rows of the groups' classes, d] -> [P, C, d] in the order of the classes.
Tensor by_class(const Layout& layout, const Tensor& features) {
  std::vector<Tensor> parts;
  std::int64_t first = 0;
  for (const auto& group : layout.groups) {
    const auto count = layout.contexts * group.classes;
    parts.push_back(features.narrow(0, first, count).view({layout.contexts, group.classes, features.size(1)}));
    first += count;
  }
  return at::cat(parts, 1).index_select(1, layout.order.to(features.device()));
}

template <class L>
Tensor encode_rows(const TextWeights<L>& weights, const Layout& layout, const Prompts& prompts, const Tuning& tuning) {
  const auto& [blocks, heads, activation] = weights.transformer;
  Tensor rows = first_rows(layout, prompts, weights.positions);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto& own = tuning_of(tuning, i);
    if (own.tokens.defined()) rows = overwrite(layout, rows, own.tokens);
    const bool last = i + 1 == blocks.size();
    const Tensor mixed = attend_rows(layout, fused_qkv(blocks[i], rows, own, layout.names), heads, last);
    const Tensor names = last && layout.names.defined() ? end_rows(layout, layout.names) : layout.names;
    rows = finish_block(blocks[i], activation, last ? end_rows(layout, rows) : rows, mixed, own, names);
  }
  return by_class(layout, weights.projection(weights.final(rows)));
}

// Rows of a part: enough for fast matrices, few enough that the graph of a part is small beside what is kept.
constexpr std::int64_t kRowsAtOnce = 4096, kRowsWithGraph = 1024;
constexpr std::int64_t kGraphBytes = std::int64_t{768} << 20;

}  // namespace

GraphLimits text_graph_limits(const TextConfig& config, const Tuning& tuning) {
  const std::int64_t bytes = graph_bytes_of_row(config, tuning);
  return {bytes, kGraphBytes / bytes, kRowsWithGraph};
}

template <class L>
Tensor encode_text_at_once(const TextConfig& config, const TextWeights<L>& weights, const Prompts& prompts,
                           const Tuning& tuning, const TextOrigin& origin) {
  return encode_rows(weights, lay_out(config, prompts, tuning, origin), prompts, tuning);
}

template <class L>
Tensor encode_text(const TextConfig& config, const TextWeights<L>& weights, const Prompts& given,
                   const Tuning& tuning) {
  check_prompts(config, given);
  Prompts prompts = given;
  prompts.end = given.end.to(at::kCPU);  // read here and in every part: a GPU is waited for once, if at all
  check_tuning(tuning, weights.transformer.blocks.size(), config.width, "text tower");
  check_contexts(prompts, tuning);
  if constexpr (std::is_same_v<L, FrozenLinear>) {
    const bool graph = wants_gradients(prompts, tuning);
    const std::int64_t contexts = text_contexts(prompts, tuning), prefix = prompts.prefix.size(1);
    const std::vector<std::int64_t> lengths = lengths_of(config, prompts);
    const std::int64_t rows = contexts * std::accumulate(lengths.begin(), lengths.end(), prefix);
    // A GPU divides the work itself.
    const std::int64_t threads = prompts.prefix.is_cpu() ? parallel_width(tower_operations(config, rows)) : 1;
    const auto parts = divide_text(contexts, prefix, lengths, threads, graph ? kRowsWithGraph : kRowsAtOnce);
    if (parts.size() > 1) {
      return encode_text_in_parts(config, weights, prompts, tuning, parts, text_graph_limits(config, tuning).kept_rows);
    }
  }
  return encode_text_at_once(config, weights, prompts, tuning);
}

template Tensor encode_text_at_once(const TextConfig&, const TextWeights<Linear>&, const Prompts&, const Tuning&,
                                    const TextOrigin&);
template Tensor encode_text_at_once(const TextConfig&, const TextWeights<FrozenLinear>&, const Prompts&, const Tuning&,
                                    const TextOrigin&);
template Tensor encode_text(const TextConfig&, const TextWeights<Linear>&, const Prompts&, const Tuning&);
template Tensor encode_text(const TextConfig&, const TextWeights<FrozenLinear>&, const Prompts&, const Tuning&);

Tensor embed_tokens(const Tensor& table, const Tensor& ids) {
  const Tensor flat = ids.to(table.device(), at::kLong).reshape({-1});
  if (flat.numel() > 0 && (flat.min().item<std::int64_t>() < 0 || flat.max().item<std::int64_t>() >= table.size(0))) {
    throw Error(fmt::format("text tower: expected token ids in 0..{}, found {}..{}", table.size(0) - 1,
                            flat.min().item<std::int64_t>(), flat.max().item<std::int64_t>()));
  }
  auto shape = ids.sizes().vec();
  shape.push_back(table.size(1));
  return at::embedding(table, flat).view(shape);
}

Tensor pad_ids(const std::vector<std::vector<std::int64_t>>& sentences, std::int64_t end) {
  std::size_t longest = 0;
  for (const auto& sentence : sentences) longest = std::max(longest, sentence.size());
  Tensor ids =
      at::full({static_cast<std::int64_t>(sentences.size()), static_cast<std::int64_t>(longest) + 1}, end, at::kLong);
  auto* row = ids.mutable_data_ptr<std::int64_t>();
  for (const auto& sentence : sentences) {
    std::copy(sentence.begin(), sentence.end(), row);
    row += ids.size(1);
  }
  return ids;
}

Prompts embed_sentences(const Tensor& table, const std::vector<std::vector<std::int64_t>>& sentences,
                        std::int64_t start, std::int64_t end) {
  std::vector<std::int64_t> ends;
  ends.reserve(sentences.size());
  for (const auto& sentence : sentences) ends.push_back(static_cast<std::int64_t>(sentence.size()));
  return {embed_tokens(table, at::full({1, 1}, start, at::kLong)),
          embed_tokens(table, pad_ids(sentences, end).unsqueeze(0)), at::tensor(ends, at::kLong)};
}

namespace {

class FrozenTextTower : public TextTower {
 public:
  FrozenTextTower(const TextConfig& config, TextWeights<FrozenLinear> weights)
      : config_(config), weights_(std::move(weights)) {}
  const TextConfig& config() const override { return config_; }
  Tensor embed(const Tensor& ids) const override { return embed_tokens(weights_.tokens, ids); }
  Tensor encode(const Prompts& prompts, const Tuning& tuning) const override {
    return encode_text(config_, weights_, prompts, tuning);
  }

 private:
  TextConfig config_;
  TextWeights<FrozenLinear> weights_;
};

}  // namespace

std::shared_ptr<const TextTower> make_text_tower(const TextConfig& config, TextWeights<FrozenLinear> weights) {
  return std::make_shared<FrozenTextTower>(config, std::move(weights));
}

}  // namespace attune
