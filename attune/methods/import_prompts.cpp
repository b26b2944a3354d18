#include "attune/methods/import_prompts.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/formats/torch_archive.h"
#include "attune/methods/tower_prompts.h"

namespace attune {
namespace {

constexpr const char* kTextBlock = "text_encoder.transformer.resblocks.";
constexpr const char* kImageBlock = "image_encoder.transformer.resblocks.";
constexpr const char* kDeepTokens = ".VPT_shallow";
/// How far the embeddings of a token may be from each other in a model and in a checkpoint with fp16 numbers.
constexpr double kSameEmbedding = 2e-3;

/// The learned tensors of a checkpoint under the names that the original program gives them within its prompt learner,
/// and the frozen embeddings around them.
struct Checkpoint {
  std::string file;
  TensorMap learned;
  TensorMap frozen;  // token_prefix [C, 1, width] and token_suffix [C, rest, width], where the file has them
  std::optional<std::int64_t> epoch;

  [[noreturn]] void refuse(const std::string& text) const { throw Error(fmt::format("{}: {}", file, text)); }
  bool has(const std::string& name) const { return learned.contains(name); }
  std::int64_t size(const std::string& name, std::int64_t dimension) const { return learned.at(name).size(dimension); }
  bool any_deep(const char* block) const {
    return std::any_of(learned.begin(), learned.end(), [&](const auto& one) { return one.first.starts_with(block); });
  }
};

bool is_frozen_clip(std::string_view name) {
  // PromptSRC keeps a second image tower as its teacher.
  for (const std::string_view part : {"image_encoder.", "text_encoder.", "ZS_image_encoder."}) {
    if (name.starts_with(part)) return true;
  }
  return name == "logit_scale";
}

bool is_learned_in_a_tower(std::string_view name) {
  return name == "image_encoder.VPT" ||
         ((name.starts_with(kTextBlock) || name.starts_with(kImageBlock)) && name.ends_with(kDeepTokens));
}

std::string_view without(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

Tensor as_numbers(const Checkpoint& checkpoint, const std::string& name, const ArchiveTensor& tensor) {
  const Tensor given = borrow(tensor.view());
  if (!given.is_floating_point()) {
    checkpoint.refuse(fmt::format("expected '{}' to hold fractions, found {}", name, name_of(tensor.type)));
  }
  if (given.dim() == 0 || given.numel() == 0) {
    checkpoint.refuse(
        fmt::format("expected '{}' to hold numbers, found the shape [{}]", name, fmt::join(given.sizes(), ", ")));
  }
  const Tensor numbers = given.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  if (!numbers.isfinite().all().item<bool>()) {
    checkpoint.refuse(fmt::format("expected '{}' to hold finite numbers, found others", name));
  }
  return numbers;
}

Checkpoint read_checkpoint(const std::filesystem::path& path) {
  constexpr std::string_view kState = "state_dict.";
  const TorchArchive archive = read_torch_archive_fully(path);
  Checkpoint checkpoint{path.string(), {}, {}, {}};
  const bool wrapped = std::any_of(archive.tensors.begin(), archive.tensors.end(),
                                   [&](const auto& one) { return one.first.starts_with(kState); });
  for (const auto& [full, tensor] : archive.tensors) {
    if (wrapped && !full.starts_with(kState)) continue;
    const std::string_view inner = without(without(without(full, kState), "module."), "prompt_learner.");
    const std::string name = full == "root" ? "ctx" : std::string(inner);
    if (is_frozen_clip(name) && !is_learned_in_a_tower(name)) continue;
    TensorMap& target = name == "token_prefix" || name == "token_suffix" ? checkpoint.frozen : checkpoint.learned;
    if (!target.emplace(name, as_numbers(checkpoint, full, tensor)).second) {
      checkpoint.refuse(fmt::format("expected one tensor '{}', found two", name));
    }
  }
  // KgCoOp's release saves parameters that it never uses.
  if (checkpoint.learned.erase("bias_vectors") > 0) {
    for (const char* unused : {"meta_net.linear1.weight", "meta_net.linear1.bias"}) checkpoint.learned.erase(unused);
  }
  const auto epoch = archive.values.find("epoch");
  if (epoch != archive.values.end() && epoch->second.is_number_integer()) {
    checkpoint.epoch = epoch->second.get<std::int64_t>();
  }
  return checkpoint;
}

/// What a checkpoint holds, as the methods that write such ones.
std::string form_of(const Checkpoint& checkpoint) {
  if (checkpoint.has("meta_net.linear1.weight")) return "cocoop";
  if (checkpoint.has("proj.weight")) return "maple";
  const bool text = checkpoint.has("ctx"), image = checkpoint.has("image_encoder.VPT");
  if (text && image) return "ivlp or promptsrc";
  if (image) return "vpt";
  if (text && checkpoint.any_deep(kTextBlock)) return "deep_text";
  if (text) return "coop, kgcoop or prograd";
  return "";
}

void expect_form(const Checkpoint& checkpoint, const std::string& method) {
  const std::string form = form_of(checkpoint);
  if (form.empty()) {
    checkpoint.refuse(
        fmt::format("expected the learned prompts of {}, found no tensor of a known prompt learner (such "
                    "as 'prompt_learner.ctx')",
                    method));
  }
  // With a depth of one, prompts of the text tower alone are those of CoOp.
  if (method == "deep_text" && form.starts_with("coop")) return;
  const bool same = form == method || form.starts_with(method + ",") || form.starts_with(method + " ") ||
                    form.ends_with(" " + method) || form.find(", " + method + " ") != std::string::npos;
  if (!same) checkpoint.refuse(fmt::format("expected the learned prompts of {}, found those of {}", method, form));
}

/// [n, width] or, for the context of each class, [C, n, width].
void expect_tokens(const Checkpoint& checkpoint, const std::string& name, std::int64_t width, bool each_class = false) {
  const Tensor& tokens = checkpoint.learned.at(name);
  const bool fits = (tokens.dim() == 2 || (each_class && tokens.dim() == 3)) && tokens.size(-1) == width;
  if (!fits) {
    checkpoint.refuse(fmt::format("expected '{}' to have the shape [tokens, {}]{}, as the model's width is, found [{}]",
                                  name, width, each_class ? fmt::format(" or [classes, tokens, {}]", width) : "",
                                  fmt::join(tokens.sizes(), ", ")));
  }
}

/// How many of `name_of(1)`, `name_of(2)`, ... there are, and one for the first block.
template <class Name>
std::int64_t depth_of(const Checkpoint& checkpoint, const Name& name_of) {
  std::int64_t depth = 1;
  while (checkpoint.has(name_of(depth))) ++depth;
  return depth;
}

std::string deep_name(const char* block, std::int64_t place) {
  return fmt::format("{}{}{}", block, place, kDeepTokens);
}

/// The settings that the tensors tell, and under which names the tensors are stored here.
struct Plan {
  std::vector<std::pair<std::string, Json>> settings;
  std::vector<std::pair<std::string, std::string>> names;  // of the checkpoint, of the adapter
};

void plan_context(const Checkpoint& checkpoint, const std::string& method, std::int64_t width, Plan& plan) {
  expect_tokens(checkpoint, "ctx", width, method == "coop" || method == "kgcoop");
  const Tensor& context = checkpoint.learned.at("ctx");
  plan.settings.emplace_back("context.length", context.size(-2));
  // The start is overwritten; ProGrad's is never empty, and no longer than the context.
  plan.settings.emplace_back("context.init", method == "prograd" ? "a" : "");
  if (context.dim() == 3) plan.settings.emplace_back("context.class_specific", true);
  plan.names.emplace_back("ctx", "context");
}

void plan_text_tokens(const Checkpoint& checkpoint, std::int64_t width, std::int64_t depth, Plan& plan) {
  expect_tokens(checkpoint, "ctx", width);
  plan.settings.emplace_back("text.tokens", checkpoint.size("ctx", 0));
  plan.settings.emplace_back("text.depth", depth);
  plan.names.emplace_back("ctx", "context");
}

void plan_maple(const Checkpoint& checkpoint, std::int64_t width, Plan& plan) {
  const auto text_name = [](std::int64_t block) { return fmt::format("compound_prompts_text.{}", block - 1); };
  const std::int64_t depth = depth_of(checkpoint, text_name);
  if (!checkpoint.has("ctx")) checkpoint.refuse("expected a tensor 'prompt_learner.ctx', found none");
  plan_text_tokens(checkpoint, width, depth, plan);
  plan.settings.emplace_back("vision.tokens", checkpoint.size("ctx", 0));
  plan.settings.emplace_back("vision.depth", depth);
  for (std::int64_t block = 0; block < depth; ++block) {
    if (block > 0) plan.names.emplace_back(text_name(block), fmt::format("text.{}", block));
    const std::string layer = block == 0 ? "proj" : fmt::format("compound_prompt_projections.{}", block - 1);
    for (const char* part : {"weight", "bias"}) {
      plan.names.emplace_back(fmt::format("{}.{}", layer, part), fmt::format("coupling.{}.{}", block, part));
    }
  }
}

/// Tokens that neither tower gets from the other.
void plan_towers(const Checkpoint& checkpoint, const ClipConfig& config, Plan& plan) {
  if (checkpoint.has("ctx")) {
    const auto name = [](std::int64_t block) { return deep_name(kTextBlock, block); };
    const std::int64_t depth = depth_of(checkpoint, name);
    plan_text_tokens(checkpoint, config.text.width, depth, plan);
    for (std::int64_t block = 1; block < depth; ++block)
      plan.names.emplace_back(name(block), fmt::format("text.{}", block));
  }
  if (checkpoint.has("image_encoder.VPT")) {
    const auto name = [](std::int64_t block) { return deep_name(kImageBlock, block); };
    const std::int64_t depth = depth_of(checkpoint, name);
    expect_tokens(checkpoint, "image_encoder.VPT", config.vision.width);
    plan.settings.emplace_back("vision.tokens", checkpoint.size("image_encoder.VPT", 0));
    plan.settings.emplace_back("vision.depth", depth);
    plan.names.emplace_back("image_encoder.VPT", "vision.0");
    for (std::int64_t block = 1; block < depth; ++block)
      plan.names.emplace_back(name(block), fmt::format("vision.{}", block));
  }
}

Plan plan_of(const Checkpoint& checkpoint, const std::string& method, const ClipConfig& config) {
  Plan plan;
  if (method == "maple") {
    plan_maple(checkpoint, config.text.width, plan);
  } else if (method == "coop" || method == "kgcoop" || method == "prograd" || method == "cocoop") {
    if (!checkpoint.has("ctx")) checkpoint.refuse("expected a tensor 'prompt_learner.ctx', found none");
    plan_context(checkpoint, method, config.text.width, plan);
    if (method == "cocoop") {
      for (const char* name : {"linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"}) {
        plan.names.emplace_back(fmt::format("meta_net.{}", name), fmt::format("meta_net.{}", name));
      }
    }
  } else {
    plan_towers(checkpoint, config, plan);
  }
  return plan;
}

/// Compares the frozen embeddings around the learned ones with what the model has there.
class Surroundings {
 public:
  Surroundings(const Checkpoint& checkpoint, const ClipModel& model) : checkpoint_(checkpoint), model_(model) {}

  void expect_same_model() const {
    const auto prefix = checkpoint_.frozen.find("token_prefix");
    if (prefix == checkpoint_.frozen.end()) return;
    const Tensor rows = prefix->second.reshape({-1, prefix->second.size(-1)});
    if (!same(rows.narrow(0, 0, 1), {model_.tokenizer->start()})) {
      checkpoint_.refuse(fmt::format(
          "'token_prefix': expected the start token's embedding of {}, found another; the prompts were learned for "
          "another CLIP",
          model_.config.name));
    }
  }

  /// How many classes the prompts were learned on; nothing where the file does not say.
  std::optional<std::int64_t> classes() const {
    const Tensor* rows = suffix();
    return rows == nullptr ? std::nullopt : std::optional(rows->size(0));
  }

  /// Whether class `place` was learned as `tokens` behind the context.
  bool reads(std::int64_t place, const std::vector<std::int64_t>& tokens) const {
    const Tensor* rows = suffix();
    return rows != nullptr && same((*rows)[place], tokens);
  }

 private:
  const Tensor* suffix() const {
    const auto found = checkpoint_.frozen.find("token_suffix");
    return found == checkpoint_.frozen.end() || found->second.dim() != 3 ? nullptr : &found->second;
  }
  /// Do the first rows embed these tokens?
  bool same(const Tensor& rows, const std::vector<std::int64_t>& tokens) const {
    const auto count = static_cast<std::int64_t>(tokens.size());
    const Tensor expected = model_.text->embed(at::tensor(tokens, at::kLong)).to(at::kCPU);
    return rows.size(0) >= count && rows.size(1) == expected.size(1) &&
           (rows.narrow(0, 0, count) - expected).abs().max().item<double>() < kSameEmbedding;
  }

  const Checkpoint& checkpoint_;
  const ClipModel& model_;
};

/// The tokens of a class behind a context that took the place of `words`.
std::vector<std::int64_t> tokens_behind(const Tokenizer& tokenizer, const std::vector<std::int64_t>& words,
                                        const std::string& name) {
  std::vector<std::int64_t> tokens = words;
  for (const std::int64_t id : tokenizer.encode(name + ".")) tokens.push_back(id);
  tokens.push_back(tokenizer.end());
  return tokens;
}

/// The words between the learned tokens and the name: those of the method's default, unless the file has none there.
std::vector<std::int64_t> words_between(const Checkpoint& checkpoint, const Surroundings& around,
                                        const Tokenizer& tokenizer, Config& config) {
  if (!config.has("text.tokens") || config.integer("text.tokens") == 0) return {};
  std::vector<std::int64_t> words = tokenizer.encode(config.text("context.init"));
  const std::int64_t learned = config.integer("text.tokens");
  if (static_cast<std::int64_t>(words.size()) <= learned) return {};
  words.erase(words.begin(), words.begin() + learned);
  if (!around.classes() || around.reads(0, words)) return words;
  config.set("context.init", Json(""), checkpoint.file);
  return {};
}

void compare_classes(const Checkpoint& checkpoint, const Surroundings& around, const Tokenizer& tokenizer,
                     const std::vector<std::int64_t>& words, const ClassNames& classes, bool specific,
                     std::vector<std::string>& notes) {
  const auto tell = [&](const std::string& text) {
    if (specific) checkpoint.refuse(text);
    notes.push_back(text);
  };
  const std::optional<std::int64_t> count = around.classes();
  if (!count) return;
  if (*count != static_cast<std::int64_t>(classes.names.size())) {
    return tell(fmt::format("expected the {} classes that the prompts were learned on, found {} class names", *count,
                            classes.names.size()));
  }
  for (std::int64_t c = 0; c < *count; ++c) {
    const std::string& name = classes.names[static_cast<std::size_t>(c)];
    if (around.reads(c, tokens_behind(tokenizer, words, name))) continue;
    return tell(
        fmt::format("'token_suffix': class {} was learned under another name than \"{}\"; give the names that "
                    "it was learned on, in their order",
                    c, name));
  }
}

/// The tensors under the adapter's names, each of the shape that `expected` has.
TensorMap renamed(const Checkpoint& checkpoint, const Plan& plan, const TensorMap& expected) {
  TensorMap state;
  for (const auto& [theirs, ours] : plan.names) {
    const auto found = checkpoint.learned.find(theirs);
    if (found == checkpoint.learned.end()) checkpoint.refuse(fmt::format("expected a tensor '{}', found none", theirs));
    const auto target = expected.find(ours);
    if (target == expected.end()) {
      checkpoint.refuse(fmt::format("'{}': expected tokens for no more blocks than the model has", theirs));
    }
    if (target->second.sizes() != found->second.sizes()) {
      checkpoint.refuse(fmt::format("expected '{}' of the shape [{}], found [{}]", theirs,
                                    fmt::join(target->second.sizes(), ", "), fmt::join(found->second.sizes(), ", ")));
    }
    state[ours] = found->second;
  }
  for (const auto& one : checkpoint.learned) {
    const bool known =
        std::any_of(plan.names.begin(), plan.names.end(), [&](const auto& names) { return names.first == one.first; });
    if (!known) checkpoint.refuse(fmt::format("found a tensor '{}' that is not expected", one.first));
  }
  return state;
}

}  // namespace

const std::vector<std::string>& importable_methods() {
  static const std::vector<std::string> kAll = {"coop", "kgcoop", "prograd",   "cocoop",   "maple",
                                                "vpt",  "ivlp",   "deep_text", "promptsrc"};
  return kAll;
}

ImportedPrompts import_prompts(const std::filesystem::path& file, const MethodChoice& choice,
                               std::shared_ptr<const ClipModel> model, const ClassNames& classes) {
  const Method& method = find_method(choice.name);
  const std::vector<std::string>& known = importable_methods();
  if (std::find(known.begin(), known.end(), method.name) == known.end()) {
    throw UsageError(fmt::format("method: expected one whose checkpoints can be imported ({}), found \"{}\"",
                                 fmt::join(known, ", "), method.name));
  }
  const Checkpoint checkpoint = read_checkpoint(file);
  expect_form(checkpoint, method.name);
  const Surroundings around(checkpoint, *model);
  around.expect_same_model();

  const Plan plan = plan_of(checkpoint, method.name, model->config);
  Config config(method.schema);
  for (const auto& [key, value] : plan.settings) config.set(key, value, checkpoint.file);
  for (const std::string& assignment : choice.assignments) config.set(assignment, "method");
  const bool words_given = config.given("context.init") && config.has("text.tokens");
  std::vector<std::int64_t> words;
  if (!words_given) words = words_between(checkpoint, around, *model->tokenizer, config);

  ImportedPrompts imported;
  const bool specific = config.has("context.class_specific") && config.flag("context.class_specific");
  if (!words_given) compare_classes(checkpoint, around, *model->tokenizer, words, classes, specific, imported.notes);
  imported.info = {.method = method.name,
                   .config = config.to_json(),
                   .base_model = model->config.name,
                   .weight_hash = model->weight_hash(),
                   .classes = classes,
                   .dataset = "",
                   .split_hash = "",
                   .seed = 1,
                   .metrics = nullptr,
                   .version = ""};
  imported.classifier = method.make(std::move(model), classes, config, imported.info.seed);
  imported.classifier->load_state(renamed(checkpoint, plan, imported.classifier->state()));
  imported.epoch = checkpoint.epoch;
  return imported;
}

}  // namespace attune
