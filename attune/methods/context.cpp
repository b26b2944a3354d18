#include "attune/methods/context.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/text/templates.h"

namespace attune {
namespace {

constexpr std::int64_t kLongestContext = 1000;

Tensor as_tensor(const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::kLong);
}

/// The tokens of a name, and those behind it up to the end token. As in CoOp the full stop is encoded with the name,
/// which matters behind a bracket, and the name keeps as many tokens as it has alone.
std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> name_tokens(const Tokenizer& tokenizer,
                                                                            const std::string& class_name) {
  const std::string name = fill("{}", class_name);
  std::vector<std::int64_t> tokens = tokenizer.encode(name + ".");
  const auto alone = static_cast<std::ptrdiff_t>(std::min(tokenizer.encode(name).size(), tokens.size()));
  std::vector<std::int64_t> rest(tokens.begin() + alone, tokens.end());
  rest.push_back(tokenizer.end());
  tokens.resize(static_cast<std::size_t>(alone));
  return {tokens, rest};
}

/// One class's suffix: rows of names and ends are known by their token, rows of the context by their place in it.
struct Row {
  bool learnable;
  std::int64_t value;
};

std::vector<Row> suffix_rows(const std::vector<std::int64_t>& name, const std::vector<std::int64_t>& rest,
                             std::int64_t first_context_row, std::int64_t context_rows) {
  std::vector<Row> rows;
  rows.reserve(name.size() + static_cast<std::size_t>(context_rows) + rest.size());
  for (const std::int64_t id : name) rows.push_back({false, id});
  for (std::int64_t i = 0; i < context_rows; ++i) rows.push_back({true, first_context_row + i});
  for (const std::int64_t id : rest) rows.push_back({false, id});
  return rows;
}

}  // namespace

NamePosition parse_name_position(std::string_view text) {
  if (text == "end") return NamePosition::kEnd;
  if (text == "middle") return NamePosition::kMiddle;
  if (text == "front") return NamePosition::kFront;
  throw UsageError(fmt::format("context.position: expected end, middle or front, found \"{}\"", text));
}

Schema ContextSettings::schema(const std::string& words) {
  return {
      {"context.length", 16, "learnable context tokens", {"TRAINER.COOP.N_CTX", "context"}},
      {"context.init", words, "initial words, which set the length; empty: random", {"TRAINER.COOP.CTX_INIT"}},
      {"context.deviation", 0.02, "standard deviation of a random start"},
      {"context.class_specific", false, "a context of its own for every class", {"TRAINER.COOP.CSC"}},
      {"context.position",
       "end",
       "where the class name stands: end, middle, front",
       {"TRAINER.COOP.CLASS_TOKEN_POSITION"}},
  };
}

ContextSettings::ContextSettings(const Config& config)
    : length(config.integer("context.length")),
      words(config.text("context.init")),
      deviation(config.number("context.deviation")),
      class_specific(config.flag("context.class_specific")),
      position(parse_name_position(config.text("context.position"))) {
  // How many fit is the model's to say; this bounds what is allocated before it is asked.
  if (length < 1 || length > kLongestContext) {
    throw UsageError(fmt::format("context.length: expected 1 to {}, found {}", kLongestContext, length));
  }
  if (!(deviation >= 0)) throw UsageError(fmt::format("context.deviation: expected at least 0, found {}", deviation));
}

ContextPrompts::ContextPrompts(const ClipModel& model, const ClassNames& classes, std::int64_t context_length,
                               bool class_specific, NamePosition position, const std::vector<std::int64_t>& following)
    : prefix_rows_(0), classes_(static_cast<std::int64_t>(classes.names.size())), suffix_length_(0) {
  if (classes.names.empty()) throw Error("class names: expected at least one, found none");
  if (!following.empty() && (class_specific || position != NamePosition::kEnd)) {
    throw Error("prompts: words behind the context stand before the names, so the context does too, and is shared");
  }
  const Tokenizer& tokenizer = *model.tokenizer;
  if (!class_specific && position == NamePosition::kEnd) prefix_rows_ = context_length;
  if (!class_specific && position == NamePosition::kMiddle) prefix_rows_ = context_length / 2;

  std::vector<std::vector<Row>> suffixes;
  for (std::size_t c = 0; c < classes.names.size(); ++c) {
    const auto [name, rest] = name_tokens(tokenizer, classes.names[c]);
    const std::int64_t own = class_specific ? static_cast<std::int64_t>(c) * context_length : 0;
    std::vector<Row> rows;
    if (class_specific && position != NamePosition::kFront) {
      // The part of a class's own context that stands before its name.
      const std::int64_t before = position == NamePosition::kEnd ? context_length : context_length / 2;
      rows = suffix_rows({}, {}, own, before);
      const auto tail = suffix_rows(name, rest, own + before, context_length - before);
      rows.insert(rows.end(), tail.begin(), tail.end());
    } else {
      rows = suffix_rows(name, rest, own + prefix_rows_, context_length - prefix_rows_);
    }
    const auto total = 1 + prefix_rows_ + static_cast<std::int64_t>(following.size() + rows.size());
    if (total > model.config.text.context_length) {
      throw Error(
          fmt::format("class name \"{}\": expected a prompt of at most {} tokens (the model's context length), "
                      "found {} ({} of them learnable)",
                      classes.names[c], model.config.text.context_length, total, context_length));
    }
    suffix_length_ = std::max(suffix_length_, static_cast<std::int64_t>(rows.size()));
    suffixes.push_back(std::move(rows));
  }

  std::vector<std::int64_t> tokens, index, ends;
  for (const std::vector<Row>& rows : suffixes) {
    for (const Row& row : rows) {
      if (!row.learnable) tokens.push_back(row.value);
    }
  }
  const std::int64_t fixed_rows = static_cast<std::int64_t>(tokens.size());
  std::int64_t next_fixed = 0;
  for (const std::vector<Row>& rows : suffixes) {
    ends.push_back(static_cast<std::int64_t>(rows.size()) - 1);
    for (const Row& row : rows) index.push_back(row.learnable ? fixed_rows + row.value : next_fixed++);
    index.resize(index.size() + static_cast<std::size_t>(suffix_length_) - rows.size(), 0);
  }
  const at::NoGradGuard no_gradients;
  start_ = model.text->embed(as_tensor({tokenizer.start()}));
  following_ = model.text->embed(as_tensor(following));
  fixed_ = model.text->embed(as_tensor(tokens));
  index_ = as_tensor(index).to(fixed_.device());
  end_ = as_tensor(ends);
  if (prefix_rows_ == context_length) {
    suffix_ = fixed_.index_select(0, index_).view({1, classes_, suffix_length_, fixed_.size(1)});
  }
}

Prompts ContextPrompts::operator()(const Tensor& context) const {
  const std::int64_t width = fixed_.size(1);
  const Tensor rows = context.reshape({-1, width});
  Prompts prompts;
  prompts.prefix = at::cat({start_, rows.narrow(0, 0, prefix_rows_), following_}).unsqueeze(0);
  prompts.suffix = suffix_.defined()
                       ? suffix_
                       : at::cat({fixed_, rows}).index_select(0, index_).view({1, classes_, suffix_length_, width});
  prompts.end = end_;
  return prompts;
}

Prompts ContextPrompts::of_each(const Tensor& contexts) const {
  if (!suffix_.defined()) throw Error("prompts: contexts of their own stand before the name, not inside or behind it");
  const auto for_each = [&](const Tensor& rows) {
    return rows.unsqueeze(0).expand({contexts.size(0), rows.size(0), rows.size(1)});
  };
  return {at::cat({for_each(start_), contexts, for_each(following_)}, 1), suffix_, end_};
}

Tensor initial_context(const ClipModel& model, const ContextSettings& settings, std::int64_t classes,
                       std::uint64_t seed) {
  const at::NoGradGuard no_gradients;
  Tensor context;
  const std::int64_t copies = settings.class_specific ? classes : 1;
  if (!settings.words.empty()) {
    const Tensor words = model.text->embed(as_tensor(model.tokenizer->encode(settings.words)));
    context = words.unsqueeze(0).expand({copies, words.size(0), words.size(1)}).clone();
  } else {
    KeyedRandom random(seed, "context");
    context = normal({copies, settings.length, model.config.text.width}, 0.0, settings.deviation, random)
                  .to(model.text->embed(as_tensor({0})).device());
  }
  return settings.class_specific ? context : context.squeeze(0).contiguous();
}

}  // namespace attune
